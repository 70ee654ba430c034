-- Notes the jobs of occurrences, and with the jobs how long they may take: jobs of the same transaction, which nobody
-- has ever had. Each is looked up by its key, whatever statistics say.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
        AS g (nominal_us, job_id, run_us_max, late_us)
),
timed AS (
    UPDATE {schema}.job AS j SET run_us_max = g.run_us_max, late_us = g.late_us
    FROM given AS g CROSS JOIN LATERAL (
        SELECT n.ctid AS place FROM {schema}.job AS n WHERE n.id = g.job_id AND n.term = 0 LIMIT 1
    ) AS new
    WHERE j.ctid = new.place AND g.run_us_max IS NOT NULL
)
UPDATE {schema}.schedule_occurrence AS o SET job_id = g.job_id
FROM given AS g
WHERE o.schedule = $1 AND o.by_hand = $2 AND o.nominal_us = g.nominal_us
