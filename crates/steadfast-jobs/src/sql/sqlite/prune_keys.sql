-- Deletes unique keys whose period is over; tells how many.
DELETE FROM steadfast_job_key
WHERE key IN (
    SELECT o.key FROM steadfast_job_key AS o INDEXED BY steadfast_job_key_until
    WHERE o.until_us <= CAST(unixepoch('subsec') * 1000000 AS INTEGER) ORDER BY o.until_us LIMIT ?1
);

SELECT changes()
