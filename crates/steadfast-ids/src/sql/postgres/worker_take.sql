-- Takes a worker id: the one that the holder had last ($13) under its term ($14), if nobody has had it since, before
-- all others; then one that nobody waits for by its mark; then the one that has rested longest. $1 group and
-- $2 its layout, $3 holder, $4 lease, $5 the holder's time and $6 how far a mark may be ahead of it, $7 the new
-- mark, $8 rest, $9 which one (null: any), $10 the greatest. $11 and $12, boot and clock of the host, are
-- not used here. Locks the row of the group against a change of its layout, and passes over rows that others
-- take. Reads the rows of the group.
WITH clock AS MATERIALIZED (
    SELECT {schema}.now_us() AS now_us WHERE $11::text IS NOT NULL AND $12::bigint IS NULL
), kept AS MATERIALIZED (
    SELECT name, floor_ms FROM {schema}.id_group WHERE name = $1 AND layout = $2 FOR SHARE
), free AS MATERIALIZED (
    SELECT w.worker
    FROM {schema}.id_worker AS w
    WHERE w.group_name = (SELECT name FROM kept)
        AND w.worker <= $10
        AND (w.worker = $9 OR $9::bigint IS NULL)
        AND (w.holder = $3 OR w.until_us + $8 < (SELECT now_us FROM clock))
        AND (w.mark_ms <= $5::bigint + $6::bigint OR (w.holder = $3 AND w.worker = $13 AND w.term = $14))
    ORDER BY (w.holder = $3 AND w.worker = $13 AND w.term = $14) IS TRUE DESC, greatest(w.mark_ms, $5), w.until_us, w.worker
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
UPDATE {schema}.id_worker AS w
SET term = w.term + 1, holder = $3, until_us = clock.now_us + $4,
    from_ms = greatest(w.mark_ms, kept.floor_ms), mark_ms = greatest(w.mark_ms, $7)
FROM free, clock, kept
WHERE w.group_name = $1 AND w.worker = free.worker
RETURNING w.worker, w.term, w.from_ms, w.mark_ms, clock.now_us / 1000
