-- Deletes what ended long enough ago, the oldest first; tells how many.
DELETE FROM steadfast_job_history
WHERE id IN (
    SELECT o.id FROM steadfast_job_history AS o INDEXED BY steadfast_job_history_ended
    WHERE o.state = ?1 AND o.finished_us <= CAST(unixepoch('subsec') * 1000000 AS INTEGER) - ?2
    ORDER BY o.finished_us, o.id LIMIT ?3
);

SELECT changes()
