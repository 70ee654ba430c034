-- Changes what a schedule says, if nobody has changed its row since; gives a row if so.
UPDATE {schema}.schedule SET
    rule = $2, zone = $3, missed = $4, overlap = $5, jitter_us = $6, start_deadline_us = $7, queue = $8, kind = $9,
    payload = $10::json, priority = $11::smallint, max_attempts = $12::integer, limit_key = $13, min_version = $14::integer,
    next_us = $15, look_us = $17, revision = revision + 1, updated_us = {schema}.now_us()
WHERE name = $1 AND revision = $16
RETURNING revision
