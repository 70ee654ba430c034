-- Deletes what became of old occurrences; gives how many rows.
--
-- Along the indexes by time, a bounded number; leaves what others have locked.
WITH made AS (
    DELETE FROM {schema}.schedule_occurrence AS o
    WHERE o.ctid = ANY (ARRAY (
        SELECT p.ctid FROM {schema}.schedule_occurrence AS p
        WHERE p.made_us < (SELECT {schema}.now_us()) - $1 AND p.ended_us IS NOT NULL
        ORDER BY p.made_us LIMIT $2 FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
),
skipped AS (
    DELETE FROM {schema}.schedule_skip AS k
    WHERE k.ctid = ANY (ARRAY (
        SELECT p.ctid FROM {schema}.schedule_skip AS p
        WHERE p.noted_us < (SELECT {schema}.now_us()) - $1
        ORDER BY p.noted_us LIMIT $2 FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT (SELECT count(*) FROM made) + (SELECT count(*) FROM skipped)
