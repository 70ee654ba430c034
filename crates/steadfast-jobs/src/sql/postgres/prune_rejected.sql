-- Deletes old notes of ends that did not count; tells how many. Along `job_rejected_noted`, a bounded number.
WITH gone AS (
    DELETE FROM {schema}.job_rejected AS r
    WHERE r.ctid = ANY (ARRAY (
        SELECT o.ctid FROM {schema}.job_rejected AS o
        WHERE o.noted_us <= (SELECT {schema}.now_us()) - $1
        ORDER BY o.noted_us, o.job_id LIMIT $2 FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT count(*) FROM gone
