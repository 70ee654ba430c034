-- Pauses a schedule (why, and nothing due) or goes on with it (no reason, the next due time), if nobody has changed its
-- row since; gives a row if so.
UPDATE {schema}.schedule SET
    paused_us = CASE WHEN $3::text IS NULL THEN NULL ELSE {schema}.now_us() END, paused_because = $3::text,
    next_us = $4, look_us = $4, queued_us = NULL, revision = revision + 1
WHERE name = $1 AND revision = $2
RETURNING revision
