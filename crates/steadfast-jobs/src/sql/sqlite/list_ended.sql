-- Lists jobs that have ended in one way, the latest first, from (time, id) on: those of a window that
-- match, behind one row (0, last id of the window, its size, its time).
--
-- Along `steadfast_job_history_ended`; reads a window of a bounded number of rows, whatever matches.
WITH seen AS MATERIALIZED (
    SELECT * FROM steadfast_job_history
    WHERE state = ?2 AND (finished_us, id) < (?8, ?1)
    ORDER BY finished_us DESC, id DESC LIMIT ?5
),
found AS (
    SELECT * FROM seen
    WHERE (?3 IS NULL OR queue = ?3) AND (?4 IS NULL OR kind = ?4)
        AND (?7 IS NULL OR limit_key = ?7)
    ORDER BY finished_us DESC, id DESC LIMIT ?6
),
last AS (
    SELECT id, finished_us FROM seen ORDER BY finished_us, id LIMIT 1
)
SELECT
    0, coalesce((SELECT id FROM last), 0), (SELECT count(*) FROM seen), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, coalesce((SELECT finished_us FROM last), 0), NULL, NULL, NULL
UNION ALL
SELECT
    1, id, 0, queue, kind, state, priority, due_us, attempt, max_attempts, crashes, term, incarnation, claimed_us,
    created_us, finished_us, limit_key, trace_id, error
FROM found
