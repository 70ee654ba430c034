-- Notes occurrences that are to have a job, and gives those that had none yet.
--
-- The primary key makes it one job for each schedule and nominal time.
INSERT INTO {schema}.schedule_occurrence (schedule, nominal_us, by_hand, job_id, made_us)
SELECT $1, g.nominal_us, $2, 0, {schema}.now_us() FROM unnest($3::bigint[]) AS g (nominal_us)
ON CONFLICT (schedule, nominal_us, by_hand) DO NOTHING
RETURNING nominal_us
