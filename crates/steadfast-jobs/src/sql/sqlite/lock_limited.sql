-- Gives a row if the queue has limits and is not paused. The writer is alone anyway.
SELECT 1 FROM steadfast_job_queue
WHERE name = ?1 AND paused_us IS NULL AND (max_running IS NOT NULL OR max_running_per_key IS NOT NULL)
