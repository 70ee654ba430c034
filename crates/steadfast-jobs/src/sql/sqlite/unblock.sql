-- Makes jobs pending again whose key has room: for each key, as many as there is room for.
--
-- Steps from key to key along `steadfast_job_blocked`, up to a bounded number of keys, from the key
-- given on; gives the last key that was looked at, null at the end.
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
        FROM keys CROSS JOIN steadfast_job AS f INDEXED BY steadfast_job_blocked
        WHERE f.blocked AND f.queue = ?1 AND f.limit_key = keys.limit_key
    ) AS ranked
    WHERE ranked.place <= coalesce(
        (SELECT q.max_running_per_key FROM steadfast_job_queue AS q WHERE q.name = ?1) - (
            SELECT count(*) FROM steadfast_job AS r INDEXED BY steadfast_job_limited
            WHERE r.state = 'running' AND r.queue = ?1 AND r.limit_key = ranked.limit_key AND r.limit_key IS NOT NULL
        ),
        1000
    )
);

SELECT NULL, changes()
