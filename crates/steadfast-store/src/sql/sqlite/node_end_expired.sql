-- Ends all whose lease is over (?1 is the clock of the host), or that lived before the host was started
-- anew (?2 says which start), and forgets those that ended long ago (?3 microseconds). Reads the whole
-- table, which has a row for each process.
DELETE FROM steadfast_node WHERE ended_us < CAST(unixepoch('subsec') * 1000000 AS INTEGER) - ?3;
UPDATE steadfast_node SET ended_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER)
WHERE ended_us IS NULL AND (boot <> ?2 OR lease_until_boot_us < ?1)
RETURNING id
