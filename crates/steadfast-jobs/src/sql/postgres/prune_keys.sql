-- Deletes unique keys whose period is over; tells how many. Along `job_key_until`, a bounded number.
WITH gone AS (
    DELETE FROM {schema}.job_key AS k
    WHERE k.ctid = ANY (ARRAY (
        SELECT o.ctid FROM {schema}.job_key AS o
        WHERE o.until_us <= (SELECT {schema}.now_us())
        ORDER BY o.until_us LIMIT $1 FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT count(*) FROM gone
