-- Gives the schedules that are looked at next, each with how long until then: those that are due first.
SELECT s.name, s.look_us - CAST(unixepoch('subsec') * 1000000 AS INTEGER)
FROM steadfast_schedule AS s
WHERE s.paused_us IS NULL AND s.look_us IS NOT NULL
ORDER BY s.look_us
LIMIT ?1
