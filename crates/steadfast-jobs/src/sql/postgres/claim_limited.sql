-- Claims jobs of a queue with limits: (2, …) as `exchange` does. Those whose key is at its limit are
-- held back, so that they stand in nobody's way: (3, how many), if there were any.
--
-- After `lock_limited`, in its transaction. Counts along `job_limited`, which has every running job of
-- such a queue: one without a key gets the empty one.
WITH q AS MATERIALIZED (
    SELECT max_running, max_running_per_key, {schema}.now_us() AS now_us FROM {schema}.job_queue WHERE name = $2
),
room AS MATERIALIZED (
    SELECT least($3, coalesce(q.max_running - (
        SELECT count(*) FROM {schema}.job AS r
        WHERE r.state = 'running' AND r.queue = $2 AND r.limit_key IS NOT NULL
    ), $3)) AS free
    FROM q
),
ready AS MATERIALIZED (
    SELECT r.ctid, r.limit_key, r.rank_us, r.id FROM {schema}.job AS r
    WHERE r.queue = $2 AND r.state = 'pending' AND r.crashes < 2
        AND r.kind = ANY ($4::text[]) AND r.min_version <= $5
        AND (r.expires_us IS NULL OR r.expires_us > (SELECT now_us FROM q))
        AND EXISTS (SELECT 1 FROM {schema}.node WHERE node.id = $1 AND node.ended_us IS NULL)
        AND (SELECT free FROM room) > 0
    ORDER BY r.rank_us, r.id LIMIT 4 * $3 + 100 FOR UPDATE SKIP LOCKED
),
placed AS MATERIALIZED (
    SELECT ready.*, row_number() OVER (PARTITION BY limit_key ORDER BY rank_us, id) + (
        SELECT count(*) FROM {schema}.job AS r
        WHERE r.state = 'running' AND r.queue = $2 AND r.limit_key = ready.limit_key AND r.limit_key IS NOT NULL
    ) AS place
    FROM ready
),
held AS (
    UPDATE {schema}.job AS j SET state = 'waiting', blocked = true
    WHERE j.ctid = ANY (ARRAY (
        SELECT placed.ctid FROM placed, q WHERE limit_key <> '' AND place > q.max_running_per_key
    ))
    RETURNING 1
),
claimed AS (
    UPDATE {schema}.job AS j
    SET state = 'running', term = j.term + 1, incarnation = $1, claimed_us = q.now_us,
        limit_key = coalesce(j.limit_key, '')
    FROM q
    WHERE j.ctid = ANY (ARRAY (
        SELECT placed.ctid FROM placed, q
        WHERE coalesce(limit_key, '') = '' OR q.max_running_per_key IS NULL OR place <= q.max_running_per_key
        ORDER BY rank_us, id LIMIT (SELECT greatest(free, 0) FROM room)
    ))
    RETURNING j.id, j.term, j.queue, j.kind, j.payload, j.attempt, j.max_attempts, j.crashes, j.rank_us, j.trace_id,
        j.run_us_max
)
SELECT 2::bigint, id, term, queue, kind, payload::text, attempt::bigint, max_attempts::bigint, crashes::bigint, rank_us,
    trace_id, run_us_max
FROM claimed
UNION ALL
SELECT 3, count(*), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM held HAVING count(*) > 0
