-- Tells which of these queues have limits. Reads a row for each queue that operators speak of.
SELECT name FROM {schema}.job_queue
WHERE name = ANY ($1::text[]) AND (max_running IS NOT NULL OR max_running_per_key IS NOT NULL)
