-- Cancels those of these jobs that do not run, and asks those that run to stop. Gives a row for each that is live:
-- (id, whether it is cancelled now (1) or asked to stop (0)).
--
-- By the primary key. Waits for nobody, so that it never stands in a circle with nodes that end runs: a row that
-- somebody else has locked is left, and missing from the answer.
WITH held AS MATERIALIZED (
    SELECT id, state FROM {schema}.job WHERE id = ANY ($1::bigint[]) FOR UPDATE SKIP LOCKED
),
asked AS (
    UPDATE {schema}.job AS j SET cancel = coalesce(j.cancel, $2)
    FROM held WHERE j.id = held.id AND held.state = 'running'
    RETURNING j.id
),
over AS (
    DELETE FROM {schema}.job AS j USING held WHERE j.id = held.id AND held.state <> 'running'
    RETURNING j.*
),
kept AS (
    INSERT INTO {schema}.job_history (
        id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term,
        created_us, finished_us, limit_key, min_version, trace_id, error, unique_key, unique_us, run_us_max
    )
    SELECT
        id, queue, kind, 'cancelled', priority, due_us, payload, attempt, max_attempts, crashes, held, term,
        created_us, {schema}.now_us(), limit_key, min_version, trace_id, $2, unique_key, unique_us, run_us_max
    FROM over
    RETURNING id
)
SELECT id, 0::bigint FROM asked
UNION ALL
SELECT id, 1::bigint FROM kept
