-- Sets the limits of a queue; null takes one away.
INSERT INTO {schema}.job_queue AS q (name, max_running, max_running_per_key)
VALUES ($1, $2::bigint::integer, $3::bigint::integer)
ON CONFLICT (name) DO UPDATE SET
    max_running = excluded.max_running, max_running_per_key = excluded.max_running_per_key
RETURNING 1::bigint
