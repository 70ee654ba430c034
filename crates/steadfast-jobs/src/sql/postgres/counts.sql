-- Counts jobs by state, each up to a cap, so that it costs the same with five million of them.
--
-- Each count is along an index that holds only rows of its state: in its order, or the planner would hope to find
-- enough of them soon in the table itself, and read through a million that are due later.
SELECT 'pending', (
    (SELECT count(*) FROM (SELECT 1 FROM {schema}.job WHERE state = 'pending' AND crashes < 2 ORDER BY queue, rank_us, id LIMIT $1) AS s)
    + (SELECT count(*) FROM (SELECT 1 FROM {schema}.job WHERE state = 'pending' AND crashes >= 2 ORDER BY queue, rank_us, id LIMIT $1) AS s)
)
UNION ALL
SELECT 'running', count(*) FROM (SELECT 1 FROM {schema}.job WHERE state = 'running' ORDER BY incarnation, claimed_us LIMIT $1) AS s
UNION ALL
SELECT 'waiting', (
    (SELECT count(*) FROM (SELECT 1 FROM {schema}.job WHERE state = 'waiting' AND NOT blocked ORDER BY due_us, id LIMIT $1) AS s)
    + (SELECT count(*) FROM (SELECT 1 FROM {schema}.job WHERE blocked ORDER BY queue, limit_key, rank_us, id LIMIT $1) AS s)
)
UNION ALL
SELECT ended.state, (
    SELECT count(*) FROM (SELECT 1 FROM {schema}.job_history AS h WHERE h.state = ended.state ORDER BY h.finished_us, h.id LIMIT $1) AS s
)
FROM (VALUES ('completed'), ('discarded'), ('cancelled'), ('quarantined')) AS ended (state)
