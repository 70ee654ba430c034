-- Puts runs that have ended back to work: retried, snoozed, or handed back. Gives the ids.
--
-- Fenced as `exchange` is. A run that came to an end clears the crashes: its process lived.
UPDATE steadfast_job AS j
SET state = CASE WHEN b.value->>2 > 0 THEN 'waiting' ELSE 'pending' END,
    due_us = CASE WHEN b.value->>4 THEN (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)) + (b.value->>2) ELSE j.due_us END,
    attempt = j.attempt + (b.value->>3),
    crashes = CASE WHEN b.value->>4 THEN 0 ELSE j.crashes END,
    held = CASE WHEN b.value->>4 THEN 0 ELSE j.held END,
    error = coalesce(b.value->>5, j.error),
    incarnation = NULL, claimed_us = NULL, cancel = NULL
FROM json_each(?1) AS b
WHERE j.id = b.value->>0 AND j.term = b.value->>1 AND j.incarnation = ?2
RETURNING id
