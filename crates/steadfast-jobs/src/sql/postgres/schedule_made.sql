-- Notes the jobs of occurrences.
UPDATE {schema}.schedule_occurrence AS o SET job_id = g.job_id
FROM unnest($3::bigint[], $4::bigint[]) AS g (nominal_us, job_id)
WHERE o.schedule = $1 AND o.by_hand = $2 AND o.nominal_us = g.nominal_us
