-- Gives the schedules that are looked at next, each with how long until then: those that are due first.
--
-- Along the index schedule_look; reads only.
SELECT s.name, s.look_us - {schema}.now_us()
FROM {schema}.schedule AS s
WHERE s.paused_us IS NULL AND s.look_us IS NOT NULL
ORDER BY s.look_us
LIMIT $1
