-- Counts jobs by state, each up to a cap: what it costs is the cap, for each state that has as many, however long the
-- tables are. Of two indexes the second is read for what the first leaves of the cap.
SELECT 'pending', count(*) FROM (
    SELECT 1 FROM steadfast_job INDEXED BY steadfast_job_ready WHERE state = 'pending' AND crashes < 2
    UNION ALL
    SELECT 1 FROM steadfast_job INDEXED BY steadfast_job_suspect WHERE state = 'pending' AND crashes >= 2
    LIMIT ?1
)
UNION ALL
SELECT 'running', count(*) FROM (
    SELECT 1 FROM steadfast_job INDEXED BY steadfast_job_running_of WHERE state = 'running' LIMIT ?1
)
UNION ALL
SELECT 'waiting', count(*) FROM (
    SELECT 1 FROM steadfast_job INDEXED BY steadfast_job_waiting WHERE state = 'waiting' AND NOT blocked
    UNION ALL
    SELECT 1 FROM steadfast_job INDEXED BY steadfast_job_blocked WHERE blocked
    LIMIT ?1
)
UNION ALL
SELECT 'completed', count(*) FROM (SELECT 1 FROM steadfast_job_history WHERE state = 'completed' LIMIT ?1)
UNION ALL
SELECT 'discarded', count(*) FROM (SELECT 1 FROM steadfast_job_history WHERE state = 'discarded' LIMIT ?1)
UNION ALL
SELECT 'cancelled', count(*) FROM (SELECT 1 FROM steadfast_job_history WHERE state = 'cancelled' LIMIT ?1)
UNION ALL
SELECT 'quarantined', count(*) FROM (SELECT 1 FROM steadfast_job_history WHERE state = 'quarantined' LIMIT ?1)
