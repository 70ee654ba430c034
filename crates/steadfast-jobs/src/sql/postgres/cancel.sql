-- Cancels a job that does not run, and asks one that runs to stop. Gives a row for the job if it is
-- live: whether it is cancelled now (1) or asked to stop (0).
--
-- By the primary key. A claim at the same moment leaves the row in neither branch: ask again.
WITH asked AS (
    UPDATE {schema}.job AS j SET cancel = coalesce(j.cancel, $2)
    WHERE j.id = $1 AND j.state = 'running'
    RETURNING j.id
),
over AS (
    DELETE FROM {schema}.job AS j WHERE j.id = $1 AND j.state <> 'running'
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
SELECT 0::bigint FROM asked
UNION ALL
SELECT 1::bigint FROM kept
