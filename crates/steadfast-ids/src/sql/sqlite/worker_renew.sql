-- Renews a lease that is not over, by key, and reserves more time. ?7 is the boot of the host, ?8 its clock.
-- Nothing is returned when it is over.
UPDATE steadfast_id_worker
SET until_boot_us = ?8 + ?5, mark_ms = max(mark_ms, ?6)
WHERE group_name = ?1 AND worker = ?2 AND holder = ?3 AND term = ?4 AND boot = ?7 AND until_boot_us >= ?8
RETURNING mark_ms, CAST(unixepoch('subsec') * 1000 AS INTEGER)
