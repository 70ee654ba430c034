-- Deletes what became of old occurrences; gives how many rows.
DELETE FROM steadfast_schedule_occurrence WHERE rowid IN (
    SELECT p.rowid FROM steadfast_schedule_occurrence AS p
    WHERE p.made_us < CAST(unixepoch('subsec') * 1000000 AS INTEGER) - ?1 AND p.ended_us IS NOT NULL
    ORDER BY p.made_us
    LIMIT ?2
)
RETURNING 1;

DELETE FROM steadfast_schedule_skip WHERE rowid IN (
    SELECT p.rowid FROM steadfast_schedule_skip AS p WHERE p.noted_us < CAST(unixepoch('subsec') * 1000000 AS INTEGER) - ?1 ORDER BY p.noted_us LIMIT ?2
)
RETURNING 1
