-- Adds a schedule, unless there is one of its name; gives a row if it was added.
INSERT INTO steadfast_schedule (
    name, rule, zone, missed, overlap, jitter_us, start_deadline_us, queue, kind, payload, priority, max_attempts,
    limit_key, min_version, next_us, look_us, created_us, updated_us
)
VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?15, CAST(unixepoch('subsec') * 1000000 AS INTEGER), CAST(unixepoch('subsec') * 1000000 AS INTEGER)
)
ON CONFLICT (name) DO NOTHING
RETURNING revision
