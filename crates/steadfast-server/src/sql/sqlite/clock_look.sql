-- The clock of the database, and the latest time that it has noted for one of the last thousand nodes, along
-- the primary key.
SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER), max(max(started_us, beat_us))
FROM (SELECT started_us, beat_us FROM steadfast_node ORDER BY id DESC LIMIT 1000) AS latest
