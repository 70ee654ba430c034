-- Tells of which kinds the jobs are that are claimed first from a queue, and how many of each.
--
-- Along `steadfast_job_ready`, up to a window: what nobody handles comes to the front, since the rest is claimed.
SELECT found.kind, count(*) FROM (
    SELECT j.kind FROM steadfast_job AS j INDEXED BY steadfast_job_ready
    WHERE j.state = 'pending' AND j.crashes < 2 AND j.queue = ?1 ORDER BY j.rank_us, j.id LIMIT ?2
) AS found
GROUP BY found.kind
