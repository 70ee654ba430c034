-- Puts runs that have ended back to work: retried, snoozed, or handed back. One that somebody wanted to stop
-- meanwhile ends as cancelled instead. Gives (id, whether it is cancelled).
--
-- Fenced as `exchange` is. A run that came to an end clears the crashes: its process lived.
INSERT INTO steadfast_job_history (
    id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, incarnation,
    claimed_us, created_us, finished_us, limit_key, min_version, trace_id, error, unique_key, unique_us, run_us_max
)
SELECT
    j.id, j.queue, j.kind, 'cancelled', j.priority, j.due_us, j.payload, j.attempt + (b.value->>3), j.max_attempts,
    j.crashes, j.held, j.term, j.incarnation, j.claimed_us, j.created_us,
    (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)), j.limit_key, j.min_version, j.trace_id, j.cancel,
    j.unique_key, j.unique_us, j.run_us_max
FROM json_each(?1) AS b CROSS JOIN steadfast_job AS j
WHERE j.id = b.value->>0 AND j.term = b.value->>1 AND j.incarnation = ?2 AND j.cancel IS NOT NULL;

-- What is in the history now under its term.
DELETE FROM steadfast_job
WHERE id IN (SELECT b.value->>0 FROM json_each(?1) AS b) AND incarnation = ?2 AND cancel IS NOT NULL
    AND term = (SELECT h.term FROM steadfast_job_history AS h WHERE h.id = steadfast_job.id)
RETURNING id, 1;

UPDATE steadfast_job AS j
SET state = CASE WHEN b.value->>2 > 0 THEN 'waiting' ELSE 'pending' END,
    due_us = CASE WHEN b.value->>4 THEN (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)) + (b.value->>2) ELSE j.due_us END,
    attempt = j.attempt + (b.value->>3),
    crashes = CASE WHEN b.value->>4 THEN 0 ELSE j.crashes END,
    held = CASE WHEN b.value->>4 THEN 0 ELSE j.held END,
    error = coalesce(b.value->>5, j.error),
    incarnation = NULL, claimed_us = NULL
FROM json_each(?1) AS b
WHERE j.id = b.value->>0 AND j.term = b.value->>1 AND j.incarnation = ?2
RETURNING id, 0
