-- Notes which runs of a schedule have ended.
UPDATE steadfast_schedule_occurrence AS o SET
    ended_us = coalesce((SELECT h.finished_us FROM steadfast_job_history AS h WHERE h.id = o.job_id), CAST(unixepoch('subsec') * 1000000 AS INTEGER))
WHERE o.schedule = ?1 AND o.ended_us IS NULL
    AND NOT EXISTS (SELECT 1 FROM steadfast_job AS j WHERE j.id = o.job_id)
