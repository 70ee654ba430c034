-- Adds jobs without unique keys; gives their ids, in the order given.
INSERT INTO steadfast_job (
    queue, kind, state, priority, due_us, payload, max_attempts, created_us, expires_us, limit_key, min_version,
    trace_id
)
SELECT
    queue, kind, CASE WHEN at_us <= now_us THEN 'pending' ELSE 'waiting' END, priority, at_us, payload, max_attempts,
    now_us, now_us + expires_in_us, limit_key, min_version, trace_id
FROM (
    SELECT
        g.value->>0 AS queue, g.value->>1 AS kind, g.value->>2 AS payload, g.value->>3 AS priority,
        coalesce(g.value->>5, clock.now_us + (g.value->>4)) AS at_us, g.value->>6 AS max_attempts,
        g.value->>7 AS expires_in_us, g.value->>8 AS limit_key, g.value->>9 AS min_version, g.value->>10 AS trace_id,
        clock.now_us AS now_us, g.key AS place
    FROM (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now_us) AS clock CROSS JOIN json_each(?1) AS g
)
WHERE true
ORDER BY place
RETURNING id
