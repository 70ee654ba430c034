-- Tells of each kind that nodes have said to handle whether one of them lives, and how long ago the last one ended; and
-- without a kind for how long the node lives that has lived longest.
--
-- Reads a row for each kind of each node that lives, or has ended within the hour.
SELECT NULL::text, 0::bigint, max({schema}.now_us() - started_us) FROM {schema}.node WHERE ended_us IS NULL
UNION ALL
SELECT l.kind, max((n.ended_us IS NULL)::int)::bigint, min({schema}.now_us() - n.ended_us)
FROM {schema}.job_longest AS l JOIN {schema}.node AS n ON n.id = l.incarnation
GROUP BY l.kind
