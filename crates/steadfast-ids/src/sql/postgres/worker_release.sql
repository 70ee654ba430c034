-- Gives a worker id back, by key, with the time that all its ids are before.
UPDATE {schema}.id_worker
SET holder = NULL, until_us = {schema}.now_us(), mark_ms = least(mark_ms, $5)
WHERE group_name = $1 AND worker = $2 AND holder = $3 AND term = $4 AND $6::bigint IS NULL
