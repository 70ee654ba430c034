-- Tells which of these queues have limits, and which are paused. Reads a row for each queue that operators speak of.
SELECT
    name, (max_running IS NOT NULL OR max_running_per_key IS NOT NULL)::int::bigint,
    (paused_us IS NOT NULL)::int::bigint
FROM {schema}.job_queue
WHERE name = ANY ($1::text[])
