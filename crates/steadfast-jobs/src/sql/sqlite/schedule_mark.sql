-- Notes occurrences that are to have a job, and gives those that had none yet.
INSERT INTO steadfast_schedule_occurrence (schedule, nominal_us, by_hand, job_id, made_us)
SELECT ?1, g.value, ?2, 0, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM json_each(?3) AS g
WHERE true
ON CONFLICT (schedule, nominal_us, by_hand) DO NOTHING
RETURNING nominal_us
