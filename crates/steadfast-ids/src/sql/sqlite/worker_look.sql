-- Why no worker id could be had: how many are leased, how many rest, how many have a mark more than ?3 ahead
-- of ?2, how long until the first is there, how far the least mark is ahead, how many
-- there are, and their layout. ?4 rest, ?5 which one (null: any), ?6 the
-- greatest, ?7 boot of the host and ?8 its clock. Reads the rows of the group.
SELECT
    count(*) FILTER (WHERE holder IS NOT NULL AND boot = ?7 AND until_boot_us >= ?8),
    count(*) FILTER (WHERE boot = ?7 AND until_boot_us + ?4 >= ?8 AND NOT (holder IS NOT NULL AND until_boot_us >= ?8)),
    count(*) FILTER (WHERE (boot <> ?7 OR until_boot_us + ?4 < ?8) AND mark_ms > ?2 + ?3),
    max(min(CASE WHEN boot = ?7 THEN until_boot_us + ?4 - ?8 ELSE 0 END), 0),
    max(min(mark_ms) - ?2, 0),
    count(*),
    (SELECT layout FROM steadfast_id_group WHERE name = ?1)
FROM steadfast_id_worker
WHERE group_name = ?1 AND worker <= ?6 AND (worker = ?5 OR ?5 IS NULL)
