-- Makes jobs pending whose time has come. Gives one row: how many, the microseconds until the
-- next one is due (null when there is none), and how many may have an old rank: all, since it costs nothing here to look
-- for them.
UPDATE steadfast_job SET state = 'pending'
WHERE id IN (
    SELECT w.id FROM steadfast_job AS w INDEXED BY steadfast_job_waiting
    WHERE w.state = 'waiting' AND NOT w.blocked AND w.due_us <= CAST(unixepoch('subsec') * 1000000 AS INTEGER)
    ORDER BY w.due_us, w.id LIMIT ?1
);

SELECT changes(), (
    SELECT w.due_us - CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM steadfast_job AS w INDEXED BY steadfast_job_waiting
    WHERE w.state = 'waiting' AND NOT w.blocked ORDER BY w.due_us, w.id LIMIT 1
), changes()
