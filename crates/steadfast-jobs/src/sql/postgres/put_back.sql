-- Puts runs that have ended back to work: retried, snoozed, or handed back. Gives the ids.
--
-- Fenced as `exchange` is. A run that came to an end clears the crashes: its process lived.
WITH clock AS MATERIALIZED (
    SELECT {schema}.now_us() AS now_us
)
UPDATE {schema}.job AS j
SET state = CASE WHEN b.delay_us > 0 THEN 'waiting' ELSE 'pending' END,
    due_us = CASE WHEN b.ended THEN clock.now_us + b.delay_us ELSE j.due_us END,
    attempt = j.attempt + CASE WHEN b.spent THEN 1 ELSE 0 END,
    crashes = CASE WHEN b.ended THEN 0 ELSE j.crashes END,
    held = CASE WHEN b.ended THEN 0 ELSE j.held END,
    error = coalesce(b.error, j.error),
    incarnation = NULL, claimed_us = NULL, cancel = NULL
FROM clock, unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::boolean[], $5::boolean[], $6::text[])
    AS b (id, term, delay_us, spent, ended, error)
WHERE j.id = b.id AND j.term = b.term AND j.incarnation IS NOT DISTINCT FROM $7
RETURNING j.id
