-- Ends runs and claims jobs of one queue, in one transaction.
--
-- Ending is fenced: a row whose term or incarnation is another's is left alone, and is missing from
-- the answer. Claiming goes along `steadfast_job_ready` from the floor given. A node that was
-- found dead claims nothing.
--
-- Rows: (0, whether the lease holds), (1, id that has ended), (2, a claimed job).
SELECT 0, count(*), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM steadfast_node AS n WHERE n.id = ?2 AND n.ended_us IS NULL;

INSERT INTO steadfast_job_history (
    id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, incarnation,
    claimed_us, created_us, finished_us, limit_key, min_version, trace_id, error, result, unique_key, unique_us,
    run_us_max
)
SELECT
    j.id, j.queue, j.kind, e.value->>2, j.priority, j.due_us, j.payload, j.attempt + 1, j.max_attempts, j.crashes,
    j.held, j.term, j.incarnation, j.claimed_us, j.created_us, (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)), j.limit_key,
    j.min_version, j.trace_id, coalesce(e.value->>3, CASE WHEN e.value->>2 = 'cancelled' THEN j.cancel END, j.error),
    e.value->>4, j.unique_key, j.unique_us, j.run_us_max
FROM json_each(?1) AS e CROSS JOIN steadfast_job AS j
WHERE j.id = e.value->>0 AND j.term = e.value->>1 AND j.incarnation = ?2;

-- What is in the history now under its term.
DELETE FROM steadfast_job
WHERE id IN (SELECT e.value->>0 FROM json_each(?1) AS e) AND incarnation = ?2
    AND term = (SELECT h.term FROM steadfast_job_history AS h WHERE h.id = steadfast_job.id)
RETURNING 1, id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL;

UPDATE steadfast_job
SET state = 'running', term = term + 1, incarnation = ?2, claimed_us = (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER))
WHERE id IN (
    SELECT r.id FROM steadfast_job AS r INDEXED BY steadfast_job_ready
    WHERE r.queue = (?3->>'$[0][0]') AND r.state = 'pending' AND r.crashes < 2 AND r.rank_us >= (?3->>'$[0][2]')
        AND r.kind IN (SELECT value FROM json_each(?4)) AND r.min_version <= ?5
        AND (r.expires_us IS NULL OR r.expires_us > (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)))
        AND EXISTS (
            SELECT 1 FROM steadfast_node AS n
            WHERE n.id = ?2 AND n.ended_us IS NULL
        )
        AND NOT EXISTS (
            SELECT 1 FROM steadfast_job_queue AS q
            WHERE q.name = (?3->>'$[0][0]')
                AND (q.paused_us IS NOT NULL OR q.max_running IS NOT NULL OR q.max_running_per_key IS NOT NULL)
        )
    ORDER BY r.rank_us, r.id LIMIT coalesce(?3->>'$[0][1]', 0)
)
RETURNING 2, id, term, queue, kind, payload, attempt, max_attempts, crashes, rank_us, trace_id, run_us_max
