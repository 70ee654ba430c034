-- Deletes old notes of ends that did not count; tells how many.
DELETE FROM steadfast_job_rejected
WHERE (job_id, term) IN (
    SELECT o.job_id, o.term FROM steadfast_job_rejected AS o INDEXED BY steadfast_job_rejected_noted
    WHERE o.noted_us <= CAST(unixepoch('subsec') * 1000000 AS INTEGER) - ?1
    ORDER BY o.noted_us, o.job_id LIMIT ?2
);

SELECT changes()
