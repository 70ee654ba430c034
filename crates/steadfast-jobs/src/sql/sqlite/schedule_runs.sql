-- Gives the jobs of a schedule that have not ended, and in a row without a job when the last that has did.
SELECT * FROM (
    SELECT o.job_id, NULL AS ended_us FROM steadfast_schedule_occurrence AS o
    WHERE o.schedule = ?1 AND o.ended_us IS NULL
    LIMIT ?2
) AS live
UNION ALL
SELECT NULL, max(o.ended_us) FROM steadfast_schedule_occurrence AS o WHERE o.schedule = ?1 AND o.ended_us IS NOT NULL
