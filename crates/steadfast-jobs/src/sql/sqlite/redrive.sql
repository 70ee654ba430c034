-- Puts jobs that have ended back to work, with all their attempts and no crashes; gives their ids. One whose
-- unique key another job has stays where it is: `key_holders` tells which.
--
-- The term goes on growing, so that nothing of the first life counts. What was completed stays so.
INSERT INTO steadfast_job (
    id, queue, kind, state, priority, due_us, payload, max_attempts, term, created_us, limit_key, min_version,
    trace_id, error, unique_key, unique_us, run_us_max
)
SELECT
    h.id, h.queue, h.kind, 'pending', h.priority, CAST(unixepoch('subsec') * 1000000 AS INTEGER), h.payload,
    h.max_attempts, h.term + 1, h.created_us, h.limit_key, h.min_version, h.trace_id, h.error, h.unique_key,
    h.unique_us, h.run_us_max
FROM steadfast_job_history AS h
WHERE h.id IN (SELECT value FROM json_each(?1)) AND h.state <> 'completed'
    AND (h.unique_us IS NULL OR NOT EXISTS (
        SELECT 1 FROM steadfast_job_key AS k
        WHERE k.key = h.unique_key AND k.job_id <> h.id
            AND k.until_us > CAST(unixepoch('subsec') * 1000000 AS INTEGER)
    ))
ORDER BY h.id
ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND unique_us IS NULL DO NOTHING
RETURNING id;

DELETE FROM steadfast_job_history
WHERE id IN (SELECT value FROM json_each(?1)) AND EXISTS (
    SELECT 1 FROM steadfast_job AS j WHERE j.id = steadfast_job_history.id
)
