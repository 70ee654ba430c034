-- Renews a lease that is not over, by key and in place, and reserves more time. Nothing is returned when it is over.
UPDATE {schema}.id_worker AS w
SET until_us = clock.now_us + $5, mark_ms = greatest(w.mark_ms, $6)
FROM (SELECT {schema}.now_us() AS now_us) AS clock
WHERE w.group_name = $1 AND w.worker = $2 AND w.holder = $3 AND w.term = $4 AND w.until_us >= clock.now_us
    AND $7::text IS NOT NULL AND $8::bigint IS NULL
RETURNING w.mark_ms, clock.now_us / 1000
