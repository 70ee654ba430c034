-- Claims jobs of a queue with limits: (2, …) as `exchange` does. Those whose key is at its limit are
-- held back, so that they stand in nobody's way: (3, how many), if there were any.
--
-- Counts along `steadfast_job_limited`, which has every running job of such a queue: one without a key
-- gets the empty one.
UPDATE steadfast_job SET state = 'waiting', blocked = 1
WHERE id IN (
    SELECT placed.id FROM (
        SELECT r.id, r.limit_key, row_number() OVER (PARTITION BY r.limit_key ORDER BY r.rank_us, r.id) AS place
        FROM (
            SELECT s.id, s.limit_key, s.rank_us FROM steadfast_job AS s INDEXED BY steadfast_job_ready
            WHERE s.queue = ?2 AND s.state = 'pending' AND s.crashes < 2
                AND s.kind IN (SELECT value FROM json_each(?4)) AND s.min_version <= ?5
                AND (s.expires_us IS NULL OR s.expires_us > (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)))
            ORDER BY s.rank_us, s.id LIMIT 4 * ?3 + 100
        ) AS r
        WHERE r.limit_key <> ''
    ) AS placed
    WHERE placed.place + (
        SELECT count(*) FROM steadfast_job AS r INDEXED BY steadfast_job_limited
        WHERE r.state = 'running' AND r.queue = ?2 AND r.limit_key = placed.limit_key AND r.limit_key IS NOT NULL
    ) > (SELECT q.max_running_per_key FROM steadfast_job_queue AS q WHERE q.name = ?2)
)
    -- Where nothing can be claimed, nothing is held back: it would be let go of and held back for ever.
    AND EXISTS (SELECT 1 FROM steadfast_node AS n WHERE n.id = ?1 AND n.ended_us IS NULL)
    AND coalesce((SELECT q.max_running FROM steadfast_job_queue AS q WHERE q.name = ?2) > (
        SELECT count(*) FROM steadfast_job AS r INDEXED BY steadfast_job_limited
        WHERE r.state = 'running' AND r.queue = ?2 AND r.limit_key IS NOT NULL
    ), true);

SELECT 3, changes(), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL WHERE changes() > 0;

UPDATE steadfast_job
SET state = 'running', term = term + 1, incarnation = ?1, claimed_us = (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)), limit_key = coalesce(limit_key, '')
WHERE id IN (
    SELECT placed.id FROM (
        -- Behind those that were held back are others that nobody has looked at: they count, too.
        SELECT r.id, r.limit_key, r.rank_us, row_number() OVER (PARTITION BY r.limit_key ORDER BY r.rank_us, r.id) AS place
        FROM (
            SELECT s.id, s.limit_key, s.rank_us FROM steadfast_job AS s INDEXED BY steadfast_job_ready
            WHERE s.queue = ?2 AND s.state = 'pending' AND s.crashes < 2
                AND s.kind IN (SELECT value FROM json_each(?4)) AND s.min_version <= ?5
                AND (s.expires_us IS NULL OR s.expires_us > (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)))
            ORDER BY s.rank_us, s.id LIMIT ?3
        ) AS r
    ) AS placed
    WHERE EXISTS (SELECT 1 FROM steadfast_node AS n WHERE n.id = ?1 AND n.ended_us IS NULL)
        AND (coalesce(placed.limit_key, '') = '' OR coalesce(placed.place + (
            SELECT count(*) FROM steadfast_job AS r INDEXED BY steadfast_job_limited
            WHERE r.state = 'running' AND r.queue = ?2 AND r.limit_key = placed.limit_key AND r.limit_key IS NOT NULL
        ) <= (SELECT q.max_running_per_key FROM steadfast_job_queue AS q WHERE q.name = ?2), true))
    ORDER BY placed.rank_us, placed.id LIMIT max(0, min(?3, coalesce(
        (SELECT q.max_running FROM steadfast_job_queue AS q WHERE q.name = ?2) - (
            SELECT count(*) FROM steadfast_job AS r INDEXED BY steadfast_job_limited
            WHERE r.state = 'running' AND r.queue = ?2 AND r.limit_key IS NOT NULL
        ), ?3)))
)
RETURNING 2, id, term, queue, kind, payload, attempt, max_attempts, crashes, rank_us, trace_id, run_us_max
