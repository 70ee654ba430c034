-- Makes jobs pending again whose key has room: for each key, as many as there is room for.
--
-- Steps from key to key along `steadfast_job_blocked`, up to a bounded number of keys, from the key
-- given on; gives the last key that was looked at, null at the end, and how many there were. The answer
-- is put together before keys have no job any more that is held back.
WITH RECURSIVE keys (limit_key, place) AS (
    SELECT * FROM (
        SELECT b.limit_key, 1 FROM steadfast_job AS b INDEXED BY steadfast_job_blocked
        WHERE b.blocked AND b.queue = ?1 AND b.limit_key > ?2 ORDER BY b.limit_key LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT b.limit_key FROM steadfast_job AS b INDEXED BY steadfast_job_blocked
        WHERE b.blocked AND b.queue = ?1 AND b.limit_key > keys.limit_key ORDER BY b.limit_key LIMIT 1
    ), place + 1
    FROM keys WHERE place < ?3 AND keys.limit_key IS NOT NULL
)
SELECT CASE WHEN count(limit_key) = ?3 THEN max(limit_key) END, count(limit_key) FROM keys;

UPDATE steadfast_job SET state = 'pending', blocked = 0
WHERE id IN (
    WITH RECURSIVE keys (limit_key, place) AS (
        SELECT * FROM (
            SELECT b.limit_key, 1 FROM steadfast_job AS b INDEXED BY steadfast_job_blocked
            WHERE b.blocked AND b.queue = ?1 AND b.limit_key > ?2 ORDER BY b.limit_key LIMIT 1
        )
        UNION ALL
        SELECT (
            SELECT b.limit_key FROM steadfast_job AS b INDEXED BY steadfast_job_blocked
            WHERE b.blocked AND b.queue = ?1 AND b.limit_key > keys.limit_key ORDER BY b.limit_key LIMIT 1
        ), place + 1
        FROM keys WHERE place < ?3 AND keys.limit_key IS NOT NULL
    )
    SELECT ranked.id FROM (
        SELECT f.id, f.limit_key, row_number() OVER (PARTITION BY f.limit_key ORDER BY f.rank_us, f.id) AS place
        -- Of each key no more than could ever run at once, however many are held back.
        FROM keys CROSS JOIN steadfast_job AS f
        WHERE f.id IN (
            SELECT g.id FROM steadfast_job AS g INDEXED BY steadfast_job_blocked
            WHERE g.blocked AND g.queue = ?1 AND g.limit_key = keys.limit_key
            ORDER BY g.rank_us, g.id
            LIMIT coalesce((SELECT q.max_running_per_key FROM steadfast_job_queue AS q WHERE q.name = ?1), 1000)
        )
    ) AS ranked
    WHERE ranked.place <= coalesce(
        (SELECT q.max_running_per_key FROM steadfast_job_queue AS q WHERE q.name = ?1) - (
            SELECT count(*) FROM steadfast_job AS r INDEXED BY steadfast_job_limited
            WHERE r.state = 'running' AND r.queue = ?1 AND r.limit_key = ranked.limit_key AND r.limit_key IS NOT NULL
        ),
        1000
    )
)
