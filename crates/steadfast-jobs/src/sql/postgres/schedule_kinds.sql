-- Gives schedules that go on making jobs, by name, after one, along the primary key.
SELECT name, kind FROM {schema}.schedule
WHERE name > $1 AND paused_us IS NULL AND look_us IS NOT NULL
ORDER BY name LIMIT $2
