-- Adds jobs without unique keys; gives their ids, in the order given.
--
-- Inserts only, so it waits for nobody. Ids come from a sequence and grow along the order.
WITH clock AS MATERIALIZED (
    SELECT {schema}.now_us() AS now_us
),
given AS (
    SELECT g.*, coalesce(g.due_us, clock.now_us + g.delay_us) AS at_us, clock.now_us
    FROM clock, unnest(
        $1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
        $9::text[], $10::bigint[], $11::text[]
    ) WITH ORDINALITY AS g (
        queue, kind, payload, priority, delay_us, due_us, max_attempts, expires_in_us, limit_key, min_version,
        trace_id, place
    )
)
INSERT INTO {schema}.job (
    queue, kind, state, priority, due_us, payload, max_attempts, created_us, expires_us, limit_key,
    min_version, trace_id
)
SELECT
    queue, kind, CASE WHEN at_us <= now_us THEN 'pending' ELSE 'waiting' END, priority::smallint, at_us,
    payload::json, max_attempts::integer, now_us, now_us + expires_in_us, limit_key, min_version::integer, trace_id
FROM given
ORDER BY place
RETURNING id
