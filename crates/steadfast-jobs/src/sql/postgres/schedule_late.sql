-- Gives jobs of schedules that should have ended by now: (job, kind, schedule, nominal time, how late), the latest
-- first. Those that run and are of a kind that gives signs of progress are left out.
--
-- Along `job_late`, which has only live jobs of schedules, and `schedule_occurrence_job`.
SELECT j.id, j.kind, o.schedule, o.nominal_us, clock.now_us - j.late_us
FROM (SELECT {schema}.now_us() AS now_us) AS clock
CROSS JOIN LATERAL (
    SELECT l.id, l.kind, l.late_us FROM {schema}.job AS l
    WHERE l.late_us <= clock.now_us AND l.late_us IS NOT NULL
        AND NOT (l.state = 'running' AND l.kind = ANY ($1::text[]))
    ORDER BY l.late_us LIMIT $2
) AS j
CROSS JOIN LATERAL (
    SELECT m.schedule, m.nominal_us FROM {schema}.schedule_occurrence AS m WHERE m.job_id = j.id LIMIT 1
) AS o
ORDER BY j.late_us
