-- How many worker ids of a group are leased, or were within the rest of ?2 microseconds, and before which time
-- all its ids are. Reads the rows of the group. ?3 is the boot of the host, ?4 its clock.
SELECT count(*) FILTER (WHERE boot = ?3 AND until_boot_us + ?2 >= ?4), coalesce(max(mark_ms), 0)
FROM steadfast_id_worker
WHERE group_name = ?1
