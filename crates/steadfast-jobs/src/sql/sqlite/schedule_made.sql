-- Notes the jobs of occurrences, and with the jobs how long they may take: jobs of the same transaction, which nobody has
-- ever had. What is given is put together first: the other way round each of all occurrences of the schedule would be
-- compared with each that is given.
UPDATE steadfast_job AS j SET run_us_max = g.value->>2, late_us = g.value->>3
FROM json_each(?3) AS g
WHERE j.id = g.value->>1 AND j.term = 0 AND g.value->>2 IS NOT NULL;

WITH given AS MATERIALIZED (
    SELECT value->>0 AS nominal_us, value->>1 AS job_id FROM json_each(?3)
)
UPDATE steadfast_schedule_occurrence AS o SET job_id = g.job_id
FROM given AS g
WHERE o.schedule = ?1 AND o.by_hand = ?2 AND o.nominal_us = g.nominal_us
