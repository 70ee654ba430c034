-- Gives jobs of schedules that should have ended by now: (job, kind, schedule, nominal time, how late), the latest
-- first. Those that run and are of a kind that gives signs of progress are left out.
--
-- Along `steadfast_job_late`, which has only live jobs of schedules.
SELECT j.id, j.kind, o.schedule, o.nominal_us, j.now_us - j.late_us
FROM (
    SELECT l.id, l.kind, l.late_us, CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now_us
    FROM steadfast_job AS l INDEXED BY steadfast_job_late
    WHERE l.late_us <= CAST(unixepoch('subsec') * 1000000 AS INTEGER) AND l.late_us IS NOT NULL
        AND NOT (l.state = 'running' AND l.kind IN (SELECT value FROM json_each(?1)))
    ORDER BY l.late_us LIMIT ?2
) AS j
CROSS JOIN steadfast_schedule_occurrence AS o ON o.job_id = j.id
ORDER BY j.late_us
