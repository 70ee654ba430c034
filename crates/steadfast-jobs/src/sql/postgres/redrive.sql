-- Puts jobs that have ended back to work, with all their attempts and no crashes; gives their ids. One whose
-- unique key another job has stays where it is: `key_holders` tells which.
--
-- By the primary key, `job_unique` and the primary key of `job_key`. The term goes on growing, so that nothing of
-- the first life counts. What was completed stays so.
WITH again AS MATERIALIZED (
    SELECT * FROM {schema}.job_history AS h
    WHERE h.id = ANY ($1::bigint[]) AND h.state <> 'completed' FOR UPDATE SKIP LOCKED
),
added AS (
    INSERT INTO {schema}.job (
        id, queue, kind, state, priority, due_us, payload, max_attempts, term, created_us, limit_key, min_version,
        trace_id, error, unique_key, unique_us, run_us_max
    )
    SELECT
        id, queue, kind, 'pending', priority, {schema}.now_us(), payload,
        max_attempts, term + 1, created_us, limit_key, min_version, trace_id, error, unique_key, unique_us, run_us_max
    FROM again
    WHERE unique_us IS NULL OR NOT EXISTS (
        SELECT 1 FROM {schema}.job_key AS k
        WHERE k.key = again.unique_key AND k.job_id <> again.id AND k.until_us > {schema}.now_us()
    )
    ORDER BY unique_key, id
    ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND unique_us IS NULL DO NOTHING
    RETURNING id
),
gone AS (
    DELETE FROM {schema}.job_history AS h WHERE h.id IN (SELECT id FROM added)
)
SELECT id FROM added
