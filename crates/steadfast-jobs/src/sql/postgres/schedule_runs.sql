-- Gives the jobs of a schedule that have not ended, and in a row without a job when the last that has did.
--
-- Along the index schedule_occurrence_ended.
SELECT * FROM (
    SELECT o.job_id, NULL::bigint AS ended_us FROM {schema}.schedule_occurrence AS o
    WHERE o.schedule = $1 AND o.ended_us IS NULL
    LIMIT $2
) AS live
UNION ALL
SELECT NULL::bigint, max(o.ended_us) FROM {schema}.schedule_occurrence AS o WHERE o.schedule = $1 AND o.ended_us IS NOT NULL
