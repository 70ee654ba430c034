-- Sets how long kinds are kept, and takes that away from others that this program knows.
--
-- By the primary key; rewrites no row that says the same.
WITH gone AS (
    DELETE FROM {schema}.job_retention AS r WHERE r.kind = ANY ($1::text[]) AND NOT r.kind = ANY ($2::text[])
)
INSERT INTO {schema}.job_retention AS r (kind, completed_us, cancelled_us, discarded_us, quarantined_us)
SELECT * FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) AS g (kind, a, b, c, d)
ORDER BY kind
ON CONFLICT (kind) DO UPDATE SET
    completed_us = excluded.completed_us, cancelled_us = excluded.cancelled_us,
    discarded_us = excluded.discarded_us, quarantined_us = excluded.quarantined_us
WHERE (r.completed_us, r.cancelled_us, r.discarded_us, r.quarantined_us)
    <> (excluded.completed_us, excluded.cancelled_us, excluded.discarded_us, excluded.quarantined_us)
