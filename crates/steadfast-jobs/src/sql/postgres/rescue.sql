-- Takes jobs from nodes that were found dead: back to pending, or into quarantine when they were the
-- only suspect of their process once too often. Gives (id, queue, kind, crashes, quarantined).
--
-- The term grows, so nothing of the old holder counts any more. Locks what it takes and skips what
-- others have locked: two rescuers share the work, and a completion that is on its way wins. Each
-- batch is bounded; what is left is found by the next.
WITH clock AS MATERIALIZED (
    SELECT {schema}.now_us() AS now_us
),
taken AS MATERIALIZED (
    SELECT j.ctid, j.held + CASE WHEN j.crashes >= 2 THEN 1 ELSE 0 END AS held
    FROM {schema}.job AS j
    WHERE j.state = 'running' AND j.incarnation = ANY (ARRAY (
        SELECT node.id FROM {schema}.node WHERE node.ended_us IS NOT NULL
    ))
    LIMIT $1 FOR UPDATE SKIP LOCKED
),
back AS (
    UPDATE {schema}.job AS j
    SET state = 'pending', term = j.term + 1, crashes = j.crashes + 1,
        held = j.held + CASE WHEN j.crashes >= 2 THEN 1 ELSE 0 END,
        incarnation = NULL, claimed_us = NULL, cancel = NULL
    WHERE j.ctid = ANY (ARRAY (SELECT ctid FROM taken WHERE held < 2))
    RETURNING j.id, j.queue, j.kind, j.crashes
),
over AS (
    DELETE FROM {schema}.job AS j WHERE j.ctid = ANY (ARRAY (SELECT ctid FROM taken WHERE held >= 2))
    RETURNING j.*
),
kept AS (
    INSERT INTO {schema}.job_history (
        id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, incarnation,
        claimed_us, created_us, finished_us, limit_key, min_version, trace_id, error
    )
    SELECT
        id, queue, kind, 'quarantined', priority, due_us, payload, attempt, max_attempts, crashes + 1, held + 1,
        term + 1, incarnation, claimed_us, created_us, clock.now_us, limit_key, min_version, trace_id,
        'its process died twice while it was the only suspect there'
    FROM over, clock
    RETURNING id, queue, kind, crashes
)
SELECT id, queue, kind, crashes::bigint, 0::bigint FROM back
UNION ALL
SELECT id, queue, kind, crashes::bigint, 1::bigint FROM kept
