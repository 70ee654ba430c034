-- Completes a run in the transaction of its handler; raises when its lease is lost, which takes the
-- transaction back.
INSERT INTO steadfast_job_fence (id, term, incarnation) VALUES (?1, ?2, ?3);

DELETE FROM steadfast_job_fence;

INSERT INTO steadfast_job_history (
    id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, incarnation,
    claimed_us, created_us, finished_us, limit_key, min_version, trace_id, error, result, unique_key, unique_us,
    run_us_max
)
SELECT
    id, queue, kind, 'completed', priority, due_us, payload, attempt + 1, max_attempts, crashes, held, term,
    incarnation, claimed_us, created_us, CAST(unixepoch('subsec') * 1000000 AS INTEGER), limit_key, min_version, trace_id, error, ?4, unique_key,
    unique_us, run_us_max
FROM steadfast_job WHERE id = ?1;

DELETE FROM steadfast_job WHERE id = ?1
