-- Takes a worker id: the one that the holder had last (?13) under its term (?14), if nobody has had it since, before
-- all others; then one that nobody waits for by its mark; then the one that has rested longest. ?1 group and
-- ?2 its layout, ?3 holder, ?4 lease, ?5 the holder's time and ?6 how far a mark may be ahead of it, ?7 the new
-- mark, ?8 rest, ?9 which one (null: any), ?10 the greatest. ?11 is the boot of the host, ?12
-- its clock. Reads the rows of the group.
WITH free AS MATERIALIZED (
    SELECT w.worker, g.floor_ms
    FROM steadfast_id_worker AS w JOIN steadfast_id_group AS g ON g.name = w.group_name
    WHERE g.name = ?1 AND g.layout = ?2
        AND w.worker <= ?10
        AND (w.worker = ?9 OR ?9 IS NULL)
        AND (w.holder = ?3 OR w.boot <> ?11 OR w.until_boot_us + ?8 < ?12)
        AND (w.mark_ms <= ?5 + ?6 OR (w.holder = ?3 AND w.worker = ?13 AND w.term = ?14))
    ORDER BY (w.holder = ?3 AND w.worker = ?13 AND w.term = ?14) IS TRUE DESC, max(w.mark_ms, ?5), w.until_boot_us, w.worker
    LIMIT 1
)
UPDATE steadfast_id_worker AS w
SET term = w.term + 1, holder = ?3, boot = ?11, until_boot_us = ?12 + ?4,
    from_ms = max(w.mark_ms, free.floor_ms), mark_ms = max(w.mark_ms, ?7)
FROM free
WHERE w.group_name = ?1 AND w.worker = free.worker
RETURNING worker, term, from_ms, mark_ms, CAST(unixepoch('subsec') * 1000 AS INTEGER)
