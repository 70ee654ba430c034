-- Takes jobs from nodes that are dead, are not in the books, or hold them beyond any time: back to pending, or
-- to their end when somebody had cancelled them or they were the only suspect of their process once too often.
-- Gives (id, queue, kind, crashes, state).
--
-- Beyond any time is twice as long as a run may take, and what its holder waits on top: as the holder says itself, or else
-- the job, and not as whoever looks would have it, whose program may be another.
--
-- The term grows, so nothing of the old holder counts any more. Reads what runs, along `steadfast_job_running_of`.
-- Each batch is bounded; what is left is found by the next.
INSERT INTO steadfast_job_history (
    id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, incarnation,
    claimed_us, created_us, finished_us, limit_key, min_version, trace_id, error, unique_key, unique_us, run_us_max
)
SELECT
    j.id, j.queue, j.kind, CASE WHEN j.cancel IS NULL THEN 'quarantined' ELSE 'cancelled' END, j.priority, j.due_us,
    j.payload, j.attempt, j.max_attempts, j.crashes + 1, j.held + (j.crashes >= 2), j.term + 1, j.incarnation,
    j.claimed_us, j.created_us, (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)), j.limit_key, j.min_version,
    j.trace_id, coalesce(j.cancel, 'its process died twice while it was the only suspect there'), j.unique_key,
    j.unique_us, j.run_us_max
FROM steadfast_job AS j INDEXED BY steadfast_job_running_of
WHERE j.state = 'running' AND (j.cancel IS NOT NULL OR (j.crashes >= 2 AND j.held >= 1))
    AND (
        NOT EXISTS (SELECT 1 FROM steadfast_node AS n WHERE n.id = j.incarnation AND n.ended_us IS NULL)
        OR j.claimed_us < (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)) - (
            SELECT l.extra_us + 2 * CASE WHEN l.is_fixed THEN l.run_us ELSE coalesce(j.run_us_max, l.run_us) END
            FROM steadfast_job_longest AS l WHERE ?2 AND l.incarnation = j.incarnation AND l.kind = j.kind
        )
    )
LIMIT ?1;

-- What is in the history now under the next term.
DELETE FROM steadfast_job
WHERE state = 'running' AND (cancel IS NOT NULL OR (crashes >= 2 AND held >= 1))
    AND term + 1 = (SELECT h.term FROM steadfast_job_history AS h WHERE h.id = steadfast_job.id)
RETURNING id, queue, kind, crashes + 1, CASE WHEN cancel IS NULL THEN 'quarantined' ELSE 'cancelled' END;

UPDATE steadfast_job
SET state = 'pending', term = term + 1, crashes = crashes + 1, held = held + (crashes >= 2), incarnation = NULL,
    claimed_us = NULL
WHERE id IN (
    SELECT j.id FROM steadfast_job AS j INDEXED BY steadfast_job_running_of
    WHERE j.state = 'running' AND j.cancel IS NULL AND NOT (j.crashes >= 2 AND j.held >= 1)
        AND (
            NOT EXISTS (SELECT 1 FROM steadfast_node AS n WHERE n.id = j.incarnation AND n.ended_us IS NULL)
            OR j.claimed_us < (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)) - (
                SELECT l.extra_us + 2 * CASE WHEN l.is_fixed THEN l.run_us ELSE coalesce(j.run_us_max, l.run_us) END
                FROM steadfast_job_longest AS l WHERE ?2 AND l.incarnation = j.incarnation AND l.kind = j.kind
            )
        )
    LIMIT ?1
)
RETURNING id, queue, kind, crashes, 'pending'
