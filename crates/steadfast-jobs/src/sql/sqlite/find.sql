-- Gives one job, live or ended.
SELECT
    id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, term, incarnation, claimed_us,
    created_us, NULL AS finished_us, limit_key, trace_id, error, NULL AS result
FROM steadfast_job WHERE id = ?1
UNION ALL
SELECT
    id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, term, incarnation, claimed_us,
    created_us, finished_us, limit_key, trace_id, error, result
FROM steadfast_job_history WHERE id = ?1
