-- Tells which of these queues have limits.
SELECT name FROM steadfast_job_queue
WHERE name IN (SELECT value FROM json_each(?1)) AND (max_running IS NOT NULL OR max_running_per_key IS NOT NULL)
