-- Notes from which queues a node claims, and forgets what nodes have said that ended more than an hour ago: until then it
-- tells since when nobody claims from a queue.
DELETE FROM steadfast_job_served
WHERE incarnation NOT IN (SELECT n.id FROM steadfast_node AS n WHERE n.ended_us IS NULL OR n.ended_us > CAST(unixepoch('subsec') * 1000000 AS INTEGER) - 3600000000)
    AND incarnation <> ?1;

INSERT INTO steadfast_job_served (incarnation, queue)
SELECT ?1, g.value FROM json_each(?2) AS g
WHERE true
ON CONFLICT (incarnation, queue) DO NOTHING
