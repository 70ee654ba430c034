-- Gives jobs of schedules that should have ended by now: (job, kind, schedule, nominal time, how late), the latest
-- first. Those that run and are of a kind that gives signs of progress are left out.
--
-- Along `job_late`, which has only live jobs of schedules.
SELECT j.id, j.kind, o.schedule, o.nominal_us, clock.now_us - j.late_us
FROM (SELECT {schema}.now_us() AS now_us) AS clock
CROSS JOIN LATERAL (
    SELECT l.id, l.kind, l.late_us FROM {schema}.job AS l
    WHERE l.late_us <= clock.now_us AND l.late_us IS NOT NULL
        AND NOT (l.state = 'running' AND l.kind = ANY ($1::text[]))
    ORDER BY l.late_us LIMIT $2
) AS j
JOIN {schema}.schedule_occurrence AS o ON o.job_id = j.id
ORDER BY j.late_us
