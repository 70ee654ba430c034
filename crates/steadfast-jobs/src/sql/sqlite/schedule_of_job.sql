-- Gives the occurrence that a job was made for.
SELECT o.schedule, o.nominal_us, o.by_hand FROM steadfast_schedule_occurrence AS o WHERE o.job_id = ?1
