-- Worker ids that somebody has had, after the group ?1 and the worker id ?2, at most ?3: the layout of the group, the
-- term, whether it is leased, how long it is until its lease ends (or since, below zero), and its mark. ?4 is the boot of
-- the host, ?5 its clock; of another boot it is only known that it is over. By the primary key, in its order.
SELECT w.group_name, w.worker, g.layout, w.term, w.holder IS NOT NULL AND w.boot = ?4 AND w.until_boot_us >= ?5,
    CASE WHEN w.boot = ?4 THEN w.until_boot_us - ?5 END, w.mark_ms
FROM steadfast_id_worker AS w JOIN steadfast_id_group AS g ON g.name = w.group_name
WHERE (w.group_name, w.worker) > (?1, ?2) AND w.term > 0
ORDER BY w.group_name, w.worker
LIMIT ?3
