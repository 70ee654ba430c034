-- Takes the right to claim from a queue with limits, until the end of the transaction; gives a row if
-- it is ours. Whoever finds it taken comes again later, and waits for nobody.
--
-- A statement of its own: what the next one counts must be from after this lock.
SELECT 1::bigint FROM {schema}.job_queue
WHERE name = $1 AND paused_us IS NULL AND (max_running IS NOT NULL OR max_running_per_key IS NOT NULL)
FOR UPDATE SKIP LOCKED
