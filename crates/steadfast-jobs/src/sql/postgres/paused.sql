-- Gives the queues that are paused, by name. Reads a row for each queue that operators speak of.
SELECT name FROM {schema}.job_queue WHERE paused_us IS NOT NULL ORDER BY name LIMIT $1
