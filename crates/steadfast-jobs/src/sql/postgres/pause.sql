-- Pauses a queue, or goes on with it when the reason is null.
INSERT INTO {schema}.job_queue AS q (name, paused_us, paused_because)
VALUES ($1, CASE WHEN $2::text IS NOT NULL THEN {schema}.now_us() END, $2)
ON CONFLICT (name) DO UPDATE SET paused_us = excluded.paused_us, paused_because = excluded.paused_because
RETURNING 1::bigint
