-- Registers a new life of a process. ?8 is the clock of the host.
INSERT INTO steadfast_node (service, version, host, pid, boot, lock, started_us, beat_us, lease_until_boot_us)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, clock.now_us, clock.now_us, ?8 + ?7
FROM (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now_us) AS clock
RETURNING id
