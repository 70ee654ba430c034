-- Sets the limits of a queue; null takes one away.
INSERT INTO steadfast_job_queue (name, max_running, max_running_per_key) VALUES (?1, ?2, ?3)
ON CONFLICT (name) DO UPDATE SET
    max_running = excluded.max_running, max_running_per_key = excluded.max_running_per_key
RETURNING 1
