-- Notes which runs of a schedule have ended.
--
-- Along the index schedule_occurrence_ended: looks at those that had not ended, and at the job of each by its key,
-- whatever statistics say.
UPDATE {schema}.schedule_occurrence AS o SET
    ended_us = coalesce((SELECT h.finished_us FROM {schema}.job_history AS h WHERE h.id = o.job_id), {schema}.now_us())
WHERE o.schedule = $1 AND o.ended_us IS NULL
    AND (SELECT j.id FROM {schema}.job AS j WHERE j.id = o.job_id) IS NULL
