-- Puts jobs that have ended back to work, with all their attempts and no crashes; gives their ids.
--
-- By the primary key. The term goes on growing, so that nothing of the first life counts. What was
-- completed stays so.
WITH again AS (
    DELETE FROM {schema}.job_history AS h
    WHERE h.ctid = ANY (ARRAY (
        SELECT o.ctid FROM {schema}.job_history AS o
        WHERE o.id = ANY ($1::bigint[]) AND o.state <> 'completed' FOR UPDATE SKIP LOCKED
    ))
    RETURNING h.*
)
INSERT INTO {schema}.job (
    id, queue, kind, state, priority, due_us, payload, max_attempts, term, created_us, limit_key, min_version,
    trace_id, error
)
SELECT
    id, queue, kind, 'pending', priority, {schema}.now_us(), payload,
    max_attempts, term + 1, created_us, limit_key, min_version, trace_id, error
FROM again
RETURNING id
