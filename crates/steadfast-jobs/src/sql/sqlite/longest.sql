-- Notes how long a node leaves runs of its kinds alone, and forgets what nodes have said that ended more than an hour ago:
-- until then it tells since when nobody handles a kind.
--
-- Workers that share the node may have the same kind: the longest time counts as long as the node lives, also when the one
-- that said so has left, whose runs may go on. One that leaves the time to the job has `run_us` for the most that any job says.
DELETE FROM steadfast_job_longest
WHERE incarnation NOT IN (SELECT n.id FROM steadfast_node AS n WHERE n.ended_us IS NULL OR n.ended_us > CAST(unixepoch('subsec') * 1000000 AS INTEGER) - 3600000000)
    AND incarnation <> ?1;

INSERT INTO steadfast_job_longest (incarnation, kind, run_us, is_fixed, extra_us)
SELECT ?1, g.value->>0, g.value->>1, g.value->>2, g.value->>3 FROM json_each(?2) AS g
WHERE true
ON CONFLICT (incarnation, kind) DO UPDATE SET
    run_us = max(run_us, excluded.run_us), is_fixed = max(is_fixed, excluded.is_fixed),
    extra_us = max(extra_us, excluded.extra_us)
