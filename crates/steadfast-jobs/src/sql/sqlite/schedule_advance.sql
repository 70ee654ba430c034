-- Moves a schedule on to its next due time, if nobody has changed its row since; gives a row if so.
UPDATE steadfast_schedule SET
    next_us = ?3, queued_us = ?4, look_us = ?5, decided_us = coalesce(?6, decided_us), revision = revision + 1
WHERE name = ?1 AND revision = ?2
RETURNING revision
