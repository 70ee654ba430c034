-- Notes the jobs of occurrences.
UPDATE steadfast_schedule_occurrence AS o SET job_id = g.job_id
FROM (SELECT value->>0 AS nominal_us, value->>1 AS job_id FROM json_each(?3)) AS g
WHERE o.schedule = ?1 AND o.by_hand = ?2 AND o.nominal_us = g.nominal_us
