-- Claims one job that is suspected of killing its processes, for a process that runs none: workers that share a
-- node, and nodes that share a process, do not know of each other's.
--
-- Along `job_suspect`, which is empty nearly always. For a queue with limits in the transaction of
-- `lock_limited`, for others by itself.
UPDATE {schema}.job AS j
SET state = 'running', term = j.term + 1, incarnation = $1, limit_key = coalesce(j.limit_key, ''),
    claimed_us = {schema}.now_us()
WHERE j.ctid = ANY (ARRAY (
    SELECT r.ctid FROM {schema}.job AS r
    WHERE r.queue = ANY ($2::text[]) AND r.state = 'pending' AND r.crashes >= 2
        AND r.kind = ANY ($3::text[]) AND r.min_version <= $4
        AND (r.expires_us IS NULL
            OR r.expires_us > (SELECT {schema}.now_us()))
        AND EXISTS (
            SELECT 1 FROM {schema}.node
            WHERE node.id = $1 AND node.ended_us IS NULL
        )
        AND NOT EXISTS (
            SELECT 1 FROM {schema}.job AS o
            WHERE o.state = 'running' AND o.crashes >= 2 AND o.id <> r.id AND o.incarnation IN (
                SELECT same.id FROM {schema}.node AS same JOIN {schema}.node AS n
                    ON same.pid = n.pid AND same.host = n.host AND same.boot = n.boot
                WHERE n.id = $1 AND same.ended_us IS NULL
            )
        )
        AND NOT EXISTS (
            SELECT 1 FROM {schema}.job_queue AS q
            WHERE q.name = r.queue AND (
                q.paused_us IS NOT NULL
                OR q.max_running <= (
                    SELECT count(*) FROM {schema}.job AS l
                    WHERE l.state = 'running' AND l.queue = r.queue AND l.limit_key IS NOT NULL
                )
                OR r.limit_key <> '' AND q.max_running_per_key <= (
                    SELECT count(*) FROM {schema}.job AS l
                    WHERE l.state = 'running' AND l.queue = r.queue AND l.limit_key = r.limit_key
                        AND l.limit_key IS NOT NULL
                )
            )
        )
    ORDER BY r.rank_us, r.id LIMIT 1 FOR UPDATE SKIP LOCKED
))
RETURNING j.id, j.term, j.queue, j.kind, j.payload::text, j.attempt::bigint, j.max_attempts::bigint,
    j.crashes::bigint, j.rank_us, j.trace_id, j.run_us_max
