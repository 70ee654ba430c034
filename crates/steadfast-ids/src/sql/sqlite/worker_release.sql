-- Gives a worker id back, by key, with the time that all its ids are before. ?6 is the clock of the host.
UPDATE steadfast_id_worker
SET holder = NULL, until_boot_us = ?6, mark_ms = min(mark_ms, ?5)
WHERE group_name = ?1 AND worker = ?2 AND holder = ?3 AND term = ?4
