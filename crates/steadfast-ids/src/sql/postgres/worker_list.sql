-- Worker ids that somebody has had, after the group $1 and the worker id $2, at most $3: the layout of the group, the
-- term, whether it is leased, how long it is until its lease ends (or since, below zero), and its mark. $4 and $5, boot
-- and clock of the host, are not used here. By the primary key, in its order.
SELECT w.group_name, w.worker, g.layout, w.term, w.holder IS NOT NULL AND w.until_us >= clock.now_us,
    w.until_us - clock.now_us, w.mark_ms
FROM {schema}.id_worker AS w JOIN {schema}.id_group AS g ON g.name = w.group_name,
    (SELECT {schema}.now_us() AS now_us) AS clock
WHERE (w.group_name, w.worker) > ($1, $2) AND w.term > 0 AND $4::text IS NOT NULL AND $5::bigint IS NOT NULL
ORDER BY w.group_name, w.worker
LIMIT $3
