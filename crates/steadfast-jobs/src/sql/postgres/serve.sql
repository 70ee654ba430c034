-- Notes from which queues a node claims, and forgets what nodes have said that ended more than an hour ago: until then it
-- tells since when nobody claims from a queue.
WITH gone AS (
    DELETE FROM {schema}.job_served AS q
    WHERE NOT EXISTS (SELECT 1 FROM {schema}.node WHERE node.id = q.incarnation AND (node.ended_us IS NULL OR node.ended_us > {schema}.now_us() - 3600000000))
        AND q.incarnation <> $1
)
INSERT INTO {schema}.job_served (incarnation, queue)
SELECT $1, g.queue FROM unnest($2::text[]) AS g (queue)
ORDER BY g.queue
ON CONFLICT (incarnation, queue) DO NOTHING
