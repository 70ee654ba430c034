-- Tells which of these queues have limits, and which are paused.
SELECT name, max_running IS NOT NULL OR max_running_per_key IS NOT NULL, paused_us IS NOT NULL
FROM steadfast_job_queue
WHERE name IN (SELECT value FROM json_each(?1))
