-- Gives schedules that should have been looked at longer ago than a length of time, and since when.
SELECT s.name, CAST(unixepoch('subsec') * 1000000 AS INTEGER) - s.look_us
FROM steadfast_schedule AS s
WHERE s.paused_us IS NULL AND s.look_us < CAST(unixepoch('subsec') * 1000000 AS INTEGER) - ?1
ORDER BY s.look_us
LIMIT ?2
