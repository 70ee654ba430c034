-- Counts jobs by state, each up to a cap: what it costs is the cap, for each state that has as many, however long the
-- tables are.
--
-- Each count is along an index that holds only rows of its state: in its order, or the planner would hope to find
-- enough of them soon in the table itself, and read through a million that are due later. Of two indexes the second is
-- read for what the first leaves of the cap.
SELECT 'pending', count(*) FROM (
    (SELECT 1 FROM {schema}.job WHERE state = 'pending' AND crashes < 2 ORDER BY queue, rank_us, id LIMIT $1)
    UNION ALL
    (SELECT 1 FROM {schema}.job WHERE state = 'pending' AND crashes >= 2 ORDER BY queue, rank_us, id LIMIT $1)
    LIMIT $1
) AS s
UNION ALL
SELECT 'running', count(*) FROM (SELECT 1 FROM {schema}.job WHERE state = 'running' ORDER BY incarnation, claimed_us LIMIT $1) AS s
UNION ALL
SELECT 'waiting', count(*) FROM (
    (SELECT 1 FROM {schema}.job WHERE state = 'waiting' AND NOT blocked ORDER BY due_us, id LIMIT $1)
    UNION ALL
    (SELECT 1 FROM {schema}.job WHERE blocked ORDER BY queue, limit_key, rank_us, id LIMIT $1)
    LIMIT $1
) AS s
UNION ALL
SELECT ended.state, (
    SELECT count(*) FROM (SELECT 1 FROM {schema}.job_history AS h WHERE h.state = ended.state ORDER BY h.finished_us, h.id LIMIT $1) AS s
)
FROM (VALUES ('completed'), ('discarded'), ('cancelled'), ('quarantined')) AS ended (state)
