-- Cancels jobs that nobody started in time. Gives their ids.
--
-- Along `job_expires`, a bounded number, skipping what others have locked.
WITH clock AS MATERIALIZED (
    SELECT {schema}.now_us() AS now_us
),
over AS (
    DELETE FROM {schema}.job AS j
    WHERE j.ctid = ANY (ARRAY (
        SELECT e.ctid FROM {schema}.job AS e
        WHERE e.expires_us <= (SELECT now_us FROM clock) AND e.expires_us IS NOT NULL AND e.state <> 'running'
        ORDER BY e.expires_us LIMIT $1 FOR UPDATE SKIP LOCKED
    ))
    RETURNING j.*
)
INSERT INTO {schema}.job_history (
    id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term,
    created_us, finished_us, limit_key, min_version, trace_id, error, unique_key, unique_us, run_us_max
)
SELECT
    id, queue, kind, 'cancelled', priority, due_us, payload, attempt, max_attempts, crashes, held, term,
    created_us, clock.now_us, limit_key, min_version, trace_id, 'expired before it was started', unique_key,
    unique_us, run_us_max
FROM over, clock
RETURNING id
