-- Adds jobs with unique keys, each key once in a batch; gives (key, id) of those that were added.
--
-- Waits for a transaction that is adding the same key: when that rolls back, ours enters. Whose
-- key was taken is asked for by `find_unique`, in a snapshot of its own.
WITH clock AS MATERIALIZED (
    SELECT {schema}.now_us() AS now_us
),
given AS MATERIALIZED (
    SELECT
        g.*, coalesce(g.due_us, clock.now_us + g.delay_us) AS at_us, clock.now_us,
        nextval('{schema}.job_id') AS id
    FROM clock, unnest(
        $1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
        $9::text[], $10::bigint[], $11::text[], $12::text[], $13::bigint[]
    ) AS g (
        queue, kind, payload, priority, delay_us, due_us, max_attempts, expires_in_us, limit_key, min_version,
        trace_id, key, period_us
    )
),
kept AS (
    -- In the order of the keys, so that two batches cannot wait for each other.
    INSERT INTO {schema}.job_key AS k (key, job_id, until_us)
    SELECT key, id, now_us + period_us FROM given WHERE period_us IS NOT NULL ORDER BY key
    ON CONFLICT (key) DO UPDATE SET job_id = excluded.job_id, until_us = excluded.until_us
        WHERE k.until_us <= (SELECT now_us FROM clock)
    RETURNING key
),
added AS (
    INSERT INTO {schema}.job (
        id, queue, kind, state, priority, due_us, payload, max_attempts, created_us, expires_us, limit_key,
        min_version, trace_id, unique_key, unique_us
    )
    SELECT
        id, queue, kind, CASE WHEN at_us <= now_us THEN 'pending' ELSE 'waiting' END, priority::smallint, at_us,
        payload::json, max_attempts::integer, now_us, now_us + expires_in_us, limit_key, min_version::integer,
        trace_id, key, period_us
    FROM given
    WHERE period_us IS NULL OR key IN (SELECT key FROM kept)
    ORDER BY key
    ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND unique_us IS NULL DO NOTHING
    RETURNING unique_key, id
)
SELECT unique_key, id FROM added
