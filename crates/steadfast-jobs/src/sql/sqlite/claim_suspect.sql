-- Claims one job that is suspected of killing its processes, for a process that runs none: workers that share a
-- node, and nodes that share a process, do not know of each other's.
--
-- Along `steadfast_job_suspect`, which is empty nearly always. For a queue with limits in the
-- transaction of `lock_limited`, for others by itself.
UPDATE steadfast_job
SET state = 'running', term = term + 1, incarnation = ?1, limit_key = coalesce(limit_key, ''),
    claimed_us = (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER))
WHERE id = (
    SELECT r.id FROM steadfast_job AS r INDEXED BY steadfast_job_suspect
    WHERE r.queue IN (SELECT value FROM json_each(?2)) AND r.state = 'pending' AND r.crashes >= 2
        AND r.kind IN (SELECT value FROM json_each(?3)) AND r.min_version <= ?4
        AND (r.expires_us IS NULL OR r.expires_us > (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)))
        AND EXISTS (
            SELECT 1 FROM steadfast_node AS n
            WHERE n.id = ?1 AND n.ended_us IS NULL
        )
        AND NOT EXISTS (
            SELECT 1 FROM steadfast_job AS o INDEXED BY steadfast_job_running_of
            WHERE o.state = 'running' AND o.crashes >= 2 AND o.id <> r.id AND o.incarnation IN (
                SELECT same.id FROM steadfast_node AS n JOIN steadfast_node AS same
                    ON same.pid = n.pid AND same.host = n.host AND same.boot = n.boot
                WHERE n.id = ?1 AND same.ended_us IS NULL
            )
        )
        AND NOT EXISTS (
            SELECT 1 FROM steadfast_job_queue AS q
            WHERE q.name = r.queue AND (
                q.paused_us IS NOT NULL
                OR q.max_running <= (
                    SELECT count(*) FROM steadfast_job AS l INDEXED BY steadfast_job_limited
                    WHERE l.state = 'running' AND l.queue = r.queue AND l.limit_key IS NOT NULL
                )
                OR r.limit_key <> '' AND q.max_running_per_key <= (
                    SELECT count(*) FROM steadfast_job AS l INDEXED BY steadfast_job_limited
                    WHERE l.state = 'running' AND l.queue = r.queue AND l.limit_key = r.limit_key
                        AND l.limit_key IS NOT NULL
                )
            )
        )
    ORDER BY r.rank_us, r.id LIMIT 1
)
RETURNING id, term, queue, kind, payload, attempt, max_attempts, crashes, rank_us, trace_id, run_us_max
