-- Cancels jobs that nobody started in time. Gives their ids.
INSERT INTO steadfast_job_history (
    id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, created_us,
    finished_us, limit_key, min_version, trace_id, error, unique_key, unique_us, run_us_max
)
SELECT
    id, queue, kind, 'cancelled', priority, due_us, payload, attempt, max_attempts, crashes, held, term, created_us,
    (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)), limit_key, min_version, trace_id, 'expired before it was started', unique_key,
    unique_us, run_us_max
FROM steadfast_job INDEXED BY steadfast_job_expires
WHERE expires_us IS NOT NULL AND expires_us <= CAST(unixepoch('subsec') * 1000000 AS INTEGER) AND state <> 'running'
ORDER BY expires_us LIMIT ?1;

DELETE FROM steadfast_job
WHERE id IN (
    SELECT j.id FROM steadfast_job AS j INDEXED BY steadfast_job_expires
    WHERE j.expires_us IS NOT NULL AND j.expires_us <= CAST(unixepoch('subsec') * 1000000 AS INTEGER) AND j.state <> 'running'
        AND EXISTS (SELECT 1 FROM steadfast_job_history AS h WHERE h.id = j.id)
)
RETURNING id
