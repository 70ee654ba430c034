-- Cancels those of these jobs that do not run, and asks those that run to stop. Gives a row for each that is live:
-- (id, whether it is cancelled now (1) or asked to stop (0)).
UPDATE steadfast_job SET cancel = coalesce(cancel, ?2)
WHERE id IN (SELECT value FROM json_each(?1)) AND state = 'running'
RETURNING id, 0;

INSERT INTO steadfast_job_history (
    id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, created_us,
    finished_us, limit_key, min_version, trace_id, error, unique_key, unique_us, run_us_max
)
SELECT
    id, queue, kind, 'cancelled', priority, due_us, payload, attempt, max_attempts, crashes, held, term, created_us,
    CAST(unixepoch('subsec') * 1000000 AS INTEGER), limit_key, min_version, trace_id, ?2, unique_key,
    unique_us, run_us_max
FROM steadfast_job WHERE id IN (SELECT value FROM json_each(?1)) AND state <> 'running';

DELETE FROM steadfast_job WHERE id IN (SELECT value FROM json_each(?1)) AND state <> 'running' RETURNING id, 1
