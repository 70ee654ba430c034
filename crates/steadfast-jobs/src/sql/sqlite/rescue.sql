-- Takes jobs from nodes that were found dead: back to pending, or into quarantine when they were the
-- only suspect of their process once too often. Gives (id, queue, kind, crashes, quarantined).
--
-- The term grows, so nothing of the old holder counts any more. Each batch is bounded; what is left
-- is found by the next.
INSERT INTO steadfast_job_history (
    id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, incarnation,
    claimed_us, created_us, finished_us, limit_key, min_version, trace_id, error
)
SELECT
    j.id, j.queue, j.kind, 'quarantined', j.priority, j.due_us, j.payload, j.attempt, j.max_attempts, j.crashes + 1,
    j.held + 1, j.term + 1, j.incarnation, j.claimed_us, j.created_us, (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)), j.limit_key, j.min_version,
    j.trace_id, 'its process died twice while it was the only suspect there'
FROM steadfast_node AS n CROSS JOIN steadfast_job AS j INDEXED BY steadfast_job_running_of
WHERE n.ended_us IS NOT NULL
    AND j.incarnation = n.id AND j.state = 'running' AND j.crashes >= 2 AND j.held >= 1
LIMIT ?1;

DELETE FROM steadfast_job
WHERE state = 'running' AND crashes >= 2 AND held >= 1
    AND incarnation IN (
        SELECT n.id FROM steadfast_node AS n WHERE n.ended_us IS NOT NULL
    )
    AND term + 1 = (SELECT h.term FROM steadfast_job_history AS h WHERE h.id = steadfast_job.id)
RETURNING id, queue, kind, crashes + 1, 1;

UPDATE steadfast_job
SET state = 'pending', term = term + 1, crashes = crashes + 1, held = held + CASE WHEN crashes >= 2 THEN 1 ELSE 0 END,
    incarnation = NULL, claimed_us = NULL, cancel = NULL
WHERE id IN (
    SELECT j.id FROM steadfast_node AS n CROSS JOIN steadfast_job AS j INDEXED BY steadfast_job_running_of
    WHERE n.ended_us IS NOT NULL
        AND j.incarnation = n.id AND j.state = 'running' AND NOT (j.crashes >= 2 AND j.held >= 1)
    LIMIT ?1
)
RETURNING id, queue, kind, crashes, 0
