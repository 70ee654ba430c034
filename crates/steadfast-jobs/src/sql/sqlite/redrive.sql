-- Puts jobs that have ended back to work, with all their attempts and no crashes; gives their ids.
--
-- The term goes on growing, so that nothing of the first life counts. What was completed stays so.
INSERT INTO steadfast_job (
    id, queue, kind, state, priority, due_us, payload, max_attempts, term, created_us, limit_key, min_version,
    trace_id, error
)
SELECT
    id, queue, kind, 'pending', priority, CAST(unixepoch('subsec') * 1000000 AS INTEGER), payload, max_attempts, term + 1, created_us, limit_key, min_version,
    trace_id, error
FROM steadfast_job_history
WHERE id IN (SELECT value FROM json_each(?1)) AND state <> 'completed'
RETURNING id;

DELETE FROM steadfast_job_history
WHERE id IN (SELECT value FROM json_each(?1)) AND state <> 'completed'
