-- Gives the queues that are paused, by name. Reads a row for each queue that operators speak of.
SELECT q.name FROM steadfast_job_queue AS q WHERE q.paused_us IS NOT NULL ORDER BY q.name LIMIT ?1
