-- The clock of the database, and the latest time that it has noted for one of the last thousand nodes, along
-- the primary key.
SELECT {schema}.now_us(), max(greatest(started_us, beat_us))
FROM (SELECT started_us, beat_us FROM {schema}.node ORDER BY id DESC LIMIT 1000) AS latest
