-- Sets the limits of a queue; null takes one away. What runs there counts from now on: one without a key gets the
-- empty one, so that it is in `job_limited`.
WITH held AS (
    UPDATE {schema}.job AS j SET limit_key = ''
    WHERE j.state = 'running' AND j.queue = $1 AND j.limit_key IS NULL AND ($2::bigint IS NOT NULL OR $3::bigint IS NOT NULL)
)
INSERT INTO {schema}.job_queue AS q (name, max_running, max_running_per_key)
VALUES ($1, $2::bigint::integer, $3::bigint::integer)
ON CONFLICT (name) DO UPDATE SET
    max_running = excluded.max_running, max_running_per_key = excluded.max_running_per_key
RETURNING 1::bigint
