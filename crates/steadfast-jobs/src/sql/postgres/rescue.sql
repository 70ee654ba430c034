-- Takes jobs from nodes that are dead, are not in the books, or hold them beyond any time: back to pending, or
-- to their end when somebody had cancelled them or they were the only suspect of their process once too often.
-- Gives (id, queue, kind, crashes, state).
--
-- Beyond any time is twice as long as a run may take, and what its holder waits on top: as the holder says itself, or else
-- the job, and not as whoever looks would have it, whose program may be another.
--
-- Rows are written by their `ctid`. One that has been claimed anew between the look, for which `astray` knows it by its id, and
-- the lock has another version by then, which this statement cannot see: it stays with its holder. By its id it would be
-- taken from that one.
--
-- The term grows, so nothing of the old holder counts any more. Steps from holder to holder along
-- `job_running_of`. Locks what it takes and skips what others have locked: two rescuers share the work, and a
-- completion that is on its way wins. Each batch is bounded; what is left is found by the next.
WITH RECURSIVE clock AS MATERIALIZED (
    SELECT {schema}.now_us() AS now_us
),
holders (id) AS (
    (SELECT r.incarnation FROM {schema}.job AS r WHERE r.state = 'running' ORDER BY r.incarnation LIMIT 1)
    UNION ALL
    SELECT (
        SELECT r.incarnation FROM {schema}.job AS r
        WHERE r.state = 'running' AND r.incarnation > holders.id ORDER BY r.incarnation LIMIT 1
    )
    FROM holders WHERE holders.id IS NOT NULL
),
dead AS MATERIALIZED (
    SELECT holders.id FROM holders
    WHERE holders.id IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM {schema}.node WHERE node.id = holders.id AND node.ended_us IS NULL)
),
-- How long each holder leaves runs alone, as it says itself, where it is asked for.
longest AS MATERIALIZED (
    SELECT l.incarnation, l.kind, l.run_us, l.is_fixed, clock.now_us - l.extra_us AS since_us
    FROM clock, holders JOIN {schema}.job_longest AS l ON l.incarnation = holders.id
    WHERE $2
),
astray AS MATERIALIZED (
    SELECT o.id FROM holders CROSS JOIN LATERAL (
        SELECT j.id, j.incarnation, j.kind, j.claimed_us, j.run_us_max FROM {schema}.job AS j
        WHERE j.state = 'running' AND j.incarnation = holders.id
            AND j.claimed_us < (SELECT max(since_us) FROM longest)
    ) AS o
    JOIN longest AS l ON l.incarnation = o.incarnation AND l.kind = o.kind
        AND o.claimed_us < l.since_us - 2 * CASE WHEN l.is_fixed THEN l.run_us ELSE coalesce(o.run_us_max, l.run_us) END
    LIMIT $1
),
taken AS MATERIALIZED (
    SELECT j.ctid, j.cancel, j.held + CASE WHEN j.crashes >= 2 THEN 1 ELSE 0 END AS held
    FROM {schema}.job AS j
    WHERE j.state = 'running'
        AND (j.incarnation = ANY (ARRAY (SELECT id FROM dead)) OR j.id = ANY (ARRAY (SELECT id FROM astray)))
    LIMIT $1 FOR UPDATE SKIP LOCKED
),
back AS (
    UPDATE {schema}.job AS j
    SET state = 'pending', term = j.term + 1, crashes = j.crashes + 1,
        held = j.held + CASE WHEN j.crashes >= 2 THEN 1 ELSE 0 END,
        incarnation = NULL, claimed_us = NULL
    WHERE j.ctid = ANY (ARRAY (SELECT ctid FROM taken WHERE held < 2 AND cancel IS NULL))
    RETURNING j.id, j.queue, j.kind, j.crashes
),
over AS (
    DELETE FROM {schema}.job AS j
    WHERE j.ctid = ANY (ARRAY (SELECT ctid FROM taken WHERE held >= 2 OR cancel IS NOT NULL))
    RETURNING j.*
),
kept AS (
    INSERT INTO {schema}.job_history (
        id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, incarnation,
        claimed_us, created_us, finished_us, limit_key, min_version, trace_id, error, unique_key, unique_us, run_us_max
    )
    SELECT
        id, queue, kind, CASE WHEN cancel IS NULL THEN 'quarantined' ELSE 'cancelled' END, priority, due_us, payload,
        attempt, max_attempts, crashes + 1, held + CASE WHEN crashes >= 2 THEN 1 ELSE 0 END, term + 1, incarnation,
        claimed_us, created_us, clock.now_us, limit_key, min_version, trace_id,
        coalesce(cancel, 'its process died twice while it was the only suspect there'), unique_key, unique_us,
        run_us_max
    FROM over, clock
    RETURNING id, queue, kind, crashes, state
)
SELECT id, queue, kind, crashes::bigint, 'pending' FROM back
UNION ALL
SELECT id, queue, kind, crashes::bigint, state FROM kept
