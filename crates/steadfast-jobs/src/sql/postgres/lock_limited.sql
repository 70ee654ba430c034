-- Takes the right to claim from a queue with limits, until the end of the transaction; gives 1 if it is ours, 0 if it is
-- taken, and no row of a queue that is paused or has none. Whoever finds it taken comes again later, and waits for nobody.
--
-- A statement of its own: what the next one counts must be from after this lock.
WITH ours AS MATERIALIZED (
    SELECT name FROM {schema}.job_queue
    WHERE name = $1 AND paused_us IS NULL AND (max_running IS NOT NULL OR max_running_per_key IS NOT NULL)
    FOR UPDATE SKIP LOCKED
)
SELECT (SELECT count(*) FROM ours) FROM {schema}.job_queue
WHERE name = $1 AND paused_us IS NULL AND (max_running IS NOT NULL OR max_running_per_key IS NOT NULL)
