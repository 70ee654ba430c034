-- Deletes what ended in one way long enough ago, of one kind, or of all that have no retention of their own (an
-- empty kind): looks at a bounded number of rows from (time, id) on, the oldest first. Gives one row: how many it
-- looked at, how many it deleted, and time and id of the last.
--
-- Along `job_history_ended`, skipping what others have locked.
WITH seen AS MATERIALIZED (
    SELECT o.ctid, o.kind, o.finished_us, o.id FROM {schema}.job_history AS o
    WHERE o.state = $1 AND (o.finished_us, o.id) > ($4::bigint, $5::bigint)
        AND o.finished_us <= (SELECT {schema}.now_us()) - $3
    ORDER BY o.finished_us, o.id LIMIT $6
),
gone AS (
    DELETE FROM {schema}.job_history AS h
    WHERE h.ctid = ANY (ARRAY (
        SELECT l.ctid FROM {schema}.job_history AS l
        WHERE l.ctid = ANY (ARRAY (
            SELECT seen.ctid FROM seen
            WHERE seen.kind = $2
                OR ($2 = '' AND NOT EXISTS (SELECT 1 FROM {schema}.job_retention AS r WHERE r.kind = seen.kind))
        ))
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
),
last AS (
    SELECT finished_us, id FROM seen ORDER BY finished_us DESC, id DESC LIMIT 1
)
SELECT
    (SELECT count(*) FROM seen), (SELECT count(*) FROM gone),
    coalesce((SELECT finished_us FROM last), $4), coalesce((SELECT id FROM last), $5)
