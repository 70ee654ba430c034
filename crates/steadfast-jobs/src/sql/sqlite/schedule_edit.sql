-- Changes what a schedule says, if nobody has changed its row since; gives a row if so.
UPDATE steadfast_schedule SET
    rule = ?2, zone = ?3, missed = ?4, overlap = ?5, jitter_us = ?6, start_deadline_us = ?7, queue = ?8, kind = ?9,
    payload = ?10, priority = ?11, max_attempts = ?12, limit_key = ?13, min_version = ?14,
    next_us = ?15, look_us = ?17, revision = revision + 1, updated_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER)
WHERE name = ?1 AND revision = ?16
RETURNING revision
