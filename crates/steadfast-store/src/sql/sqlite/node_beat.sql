-- Renews a lease that is not over, by key. ?3 is the clock of the host. Nothing is returned when it is
-- over or was ended; whoever lost it must not have it back.
UPDATE steadfast_node
SET beat_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER), lease_until_boot_us = ?3 + ?2
WHERE id = ?1 AND ended_us IS NULL AND lease_until_boot_us >= ?3
RETURNING (SELECT count(*) FROM steadfast_migration WHERE breaking)
