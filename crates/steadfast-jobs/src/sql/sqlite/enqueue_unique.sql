-- Adds jobs with unique keys, each key once in a batch; gives (key, id) of those that were added.
--
-- A key with a period is taken first, for the id that its job will have.
INSERT INTO steadfast_job_key (key, job_id, until_us)
SELECT
    g.value->>11, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'steadfast_job'), 0) + 1 + g.key,
    CAST(unixepoch('subsec') * 1000000 AS INTEGER) + (g.value->>12)
FROM json_each(?1) AS g
WHERE g.value->>12 IS NOT NULL
ON CONFLICT (key) DO UPDATE SET job_id = excluded.job_id, until_us = excluded.until_us
    WHERE until_us <= CAST(unixepoch('subsec') * 1000000 AS INTEGER);

INSERT INTO steadfast_job (
    id, queue, kind, state, priority, due_us, payload, max_attempts, created_us, expires_us, limit_key, min_version,
    trace_id, unique_key, unique_us
)
SELECT
    id, queue, kind, CASE WHEN at_us <= now_us THEN 'pending' ELSE 'waiting' END, priority, at_us, payload,
    max_attempts, now_us, now_us + expires_in_us, limit_key, min_version, trace_id, unique_key, unique_us
FROM (
    SELECT
        clock.base + 1 + g.key AS id,
        g.value->>0 AS queue, g.value->>1 AS kind, g.value->>2 AS payload, g.value->>3 AS priority,
        coalesce(g.value->>5, clock.now_us + (g.value->>4)) AS at_us, g.value->>6 AS max_attempts,
        g.value->>7 AS expires_in_us, g.value->>8 AS limit_key, g.value->>9 AS min_version, g.value->>10 AS trace_id,
        g.value->>11 AS unique_key, g.value->>12 AS unique_us, clock.now_us AS now_us
    FROM (
        SELECT
            CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now_us,
            coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'steadfast_job'), 0) AS base
    ) AS clock CROSS JOIN json_each(?1) AS g
    ORDER BY g.key
) AS given
WHERE unique_us IS NULL
    OR (SELECT k.job_id FROM steadfast_job_key AS k WHERE k.key = given.unique_key) = given.id
ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND unique_us IS NULL DO NOTHING
RETURNING unique_key, id
