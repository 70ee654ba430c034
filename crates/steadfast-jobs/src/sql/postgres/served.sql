-- Tells of each queue that nodes have said to claim from whether one of them lives, and how long ago the last one ended; and
-- without a queue how many nodes live that say nothing of queues, as older programs do, and for how long the node lives that
-- has lived longest.
--
-- Reads a row for each queue and kind of each node that lives, or has ended within the hour.
SELECT
    NULL::text,
    count(*) FILTER (
        WHERE EXISTS (SELECT 1 FROM {schema}.job_longest AS l WHERE l.incarnation = n.id)
            AND NOT EXISTS (SELECT 1 FROM {schema}.job_served AS q WHERE q.incarnation = n.id)
    ),
    max({schema}.now_us() - n.started_us)
FROM {schema}.node AS n WHERE n.ended_us IS NULL
UNION ALL
SELECT q.queue, max((n.ended_us IS NULL)::int)::bigint, min({schema}.now_us() - n.ended_us)
FROM {schema}.job_served AS q JOIN {schema}.node AS n ON n.id = q.incarnation
GROUP BY q.queue
