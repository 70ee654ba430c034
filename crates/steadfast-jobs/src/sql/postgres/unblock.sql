-- Makes jobs pending again whose key has room: for each key, as many as there is room for.
--
-- After `lock_limited`, in its transaction. Steps from key to key along `job_blocked`, up to a bounded
-- number of keys, from the key given on; gives the last key that was looked at, null at the end, and
-- how many there were.
WITH RECURSIVE keys AS (
    (
        SELECT b.limit_key, 1 AS place FROM {schema}.job AS b
        WHERE b.blocked AND b.queue = $1 AND b.limit_key > $2 ORDER BY b.limit_key LIMIT 1
    )
    UNION ALL
    SELECT next.limit_key, keys.place + 1
    FROM keys CROSS JOIN LATERAL (
        SELECT b.limit_key FROM {schema}.job AS b
        WHERE b.blocked AND b.queue = $1 AND b.limit_key > keys.limit_key ORDER BY b.limit_key LIMIT 1
    ) AS next
    WHERE keys.place < $3
),
room AS (
    SELECT keys.limit_key, coalesce(
        q.max_running_per_key - (
            SELECT count(*) FROM {schema}.job AS r
            WHERE r.state = 'running' AND r.queue = $1 AND r.limit_key = keys.limit_key AND r.limit_key IS NOT NULL
        ),
        1000
    ) AS free
    FROM keys JOIN {schema}.job_queue AS q ON q.name = $1
),
freed AS (
    UPDATE {schema}.job AS j SET state = 'pending', blocked = false
    WHERE j.blocked AND j.ctid = ANY (ARRAY (
        SELECT b.ctid FROM room CROSS JOIN LATERAL (
            SELECT f.ctid FROM {schema}.job AS f
            WHERE f.blocked AND f.queue = $1 AND f.limit_key = room.limit_key
            ORDER BY f.rank_us, f.id LIMIT greatest(room.free, 0) FOR UPDATE SKIP LOCKED
        ) AS b
    ))
)
SELECT CASE WHEN count(*) = $3 THEN max(keys.limit_key) END, count(*) FROM keys
