-- Sets the limits of a queue; null takes one away. What runs there counts from now on: one without a key gets the
-- empty one, so that it is in `steadfast_job_limited`.
UPDATE steadfast_job SET limit_key = ''
WHERE state = 'running' AND queue = ?1 AND limit_key IS NULL AND (?2 IS NOT NULL OR ?3 IS NOT NULL);

INSERT INTO steadfast_job_queue (name, max_running, max_running_per_key) VALUES (?1, ?2, ?3)
ON CONFLICT (name) DO UPDATE SET
    max_running = excluded.max_running, max_running_per_key = excluded.max_running_per_key
RETURNING 1
