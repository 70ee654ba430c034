-- Adds a schedule, unless there is one of its name; gives a row if it was added.
INSERT INTO {schema}.schedule (
    name, rule, zone, missed, overlap, jitter_us, start_deadline_us, queue, kind, payload, priority, max_attempts,
    limit_key, min_version, next_us, look_us, created_us, updated_us
)
VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10::json, $11::smallint, $12::integer, $13, $14::integer, $15, $15, {schema}.now_us(), {schema}.now_us()
)
ON CONFLICT (name) DO NOTHING
RETURNING revision
