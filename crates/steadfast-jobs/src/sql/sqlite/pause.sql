-- Pauses a queue, or goes on with it when the reason is null.
INSERT INTO steadfast_job_queue (name, paused_us, paused_because)
VALUES (?1, CASE WHEN ?2 IS NOT NULL THEN CAST(unixepoch('subsec') * 1000000 AS INTEGER) END, ?2)
ON CONFLICT (name) DO UPDATE SET paused_us = excluded.paused_us, paused_because = excluded.paused_because
RETURNING 1
