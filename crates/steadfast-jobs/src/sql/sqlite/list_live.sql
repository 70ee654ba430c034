-- Lists live jobs, the newest first, from an id on: those of a window that match, behind one row
-- (0, last id of the window, its size).
--
-- Along the primary key; reads a window of a bounded number of rows, whatever matches.
WITH seen AS MATERIALIZED (
    SELECT * FROM steadfast_job WHERE id < ?1 ORDER BY id DESC LIMIT ?5
),
found AS (
    SELECT * FROM seen
    WHERE (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR queue = ?3) AND (?4 IS NULL OR kind = ?4)
        AND (?7 IS NULL OR limit_key = ?7)
    ORDER BY id DESC LIMIT ?6
)
SELECT
    0, coalesce(min(id), 0), count(*), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL
FROM seen
UNION ALL
SELECT
    1, id, 0, queue, kind, state, priority, due_us, attempt, max_attempts, crashes, term, incarnation, claimed_us,
    created_us, NULL, limit_key, trace_id, error
FROM found
