-- Counts jobs by state, each up to a cap, so that it costs the same with five million of them.
--
-- Each count is along an index that holds only rows of its state.
SELECT 'pending', (
    (SELECT count(*) FROM (SELECT 1 FROM {schema}.job WHERE state = 'pending' AND crashes < 2 LIMIT $1) AS s)
    + (SELECT count(*) FROM (SELECT 1 FROM {schema}.job WHERE state = 'pending' AND crashes >= 2 LIMIT $1) AS s)
)
UNION ALL
SELECT 'running', count(*) FROM (SELECT 1 FROM {schema}.job WHERE state = 'running' LIMIT $1) AS s
UNION ALL
SELECT 'waiting', (
    (SELECT count(*) FROM (SELECT 1 FROM {schema}.job WHERE state = 'waiting' AND NOT blocked LIMIT $1) AS s)
    + (SELECT count(*) FROM (SELECT 1 FROM {schema}.job WHERE blocked LIMIT $1) AS s)
)
UNION ALL
SELECT ended.state, (
    SELECT count(*) FROM (SELECT 1 FROM {schema}.job_history AS h WHERE h.state = ended.state LIMIT $1) AS s
)
FROM (VALUES ('completed'), ('discarded'), ('cancelled'), ('quarantined')) AS ended (state)
