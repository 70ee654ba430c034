-- Tells of each kind that nodes have said to handle whether one of them lives, and how long ago the last one ended; and
-- without a kind for how long the node lives that has lived longest.
--
-- Reads a row for each kind of each node that lives, or has ended within the hour.
SELECT NULL, 0, max(CAST(unixepoch('subsec') * 1000000 AS INTEGER) - n.started_us)
FROM steadfast_node AS n WHERE n.ended_us IS NULL
UNION ALL
SELECT l.kind, max(n.ended_us IS NULL), min(CAST(unixepoch('subsec') * 1000000 AS INTEGER) - n.ended_us)
FROM steadfast_job_longest AS l JOIN steadfast_node AS n ON n.id = l.incarnation
GROUP BY l.kind
