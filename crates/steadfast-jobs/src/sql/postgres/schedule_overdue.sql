-- Gives schedules that should have been looked at longer ago than a length of time, and since when.
SELECT s.name, {schema}.now_us() - s.look_us
FROM {schema}.schedule AS s
WHERE s.paused_us IS NULL AND s.look_us < (SELECT {schema}.now_us()) - $1
ORDER BY s.look_us
LIMIT $2
