-- Deletes what ended long enough ago, the oldest first; tells how many.
--
-- Along `job_history_ended`, a bounded number, skipping what others have locked.
WITH gone AS (
    DELETE FROM {schema}.job_history AS h
    WHERE h.ctid = ANY (ARRAY (
        SELECT o.ctid FROM {schema}.job_history AS o
        WHERE o.state = $1
            AND o.finished_us <= (SELECT {schema}.now_us()) - $2
        ORDER BY o.finished_us, o.id LIMIT $3 FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT count(*) FROM gone
