-- Notes how long a node leaves runs of its kinds alone, and forgets what nodes have said that ended more than an hour ago:
-- until then it tells since when nobody handles a kind.
--
-- Workers that share the node may have the same kind: the longest time counts as long as the node lives, also when the one
-- that said so has left, whose runs may go on. One that leaves the time to the job has `run_us` for the most that any job says.
WITH gone AS (
    DELETE FROM {schema}.job_longest AS l
    WHERE NOT EXISTS (SELECT 1 FROM {schema}.node WHERE node.id = l.incarnation AND (node.ended_us IS NULL OR node.ended_us > {schema}.now_us() - 3600000000))
        AND l.incarnation <> $1
)
INSERT INTO {schema}.job_longest AS l (incarnation, kind, run_us, is_fixed, extra_us)
SELECT $1, g.kind, g.run_us, g.is_fixed, g.extra_us
FROM unnest($2::text[], $3::bigint[], $4::boolean[], $5::bigint[]) AS g (kind, run_us, is_fixed, extra_us)
ORDER BY g.kind
ON CONFLICT (incarnation, kind) DO UPDATE SET
    run_us = greatest(l.run_us, excluded.run_us), is_fixed = l.is_fixed OR excluded.is_fixed,
    extra_us = greatest(l.extra_us, excluded.extra_us)
