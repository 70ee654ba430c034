-- Why no worker id could be had: how many are leased, how many rest, how many have a mark more than $3 ahead
-- of $2, how long until the first is there, how far the least mark is ahead, how many
-- there are, and their layout. $4 rest, $5 which one (null: any), $6 the
-- greatest. $7 and $8, boot and clock of the host, are not used here. Reads the rows of the group.
SELECT
    count(*) FILTER (WHERE w.holder IS NOT NULL AND w.until_us >= clock.now_us),
    count(*) FILTER (WHERE w.until_us + $4 >= clock.now_us AND NOT (w.holder IS NOT NULL AND w.until_us >= clock.now_us)),
    count(*) FILTER (WHERE w.until_us + $4 < clock.now_us AND w.mark_ms > $2::bigint + $3::bigint),
    greatest(min(w.until_us + $4 - clock.now_us), 0),
    greatest(min(w.mark_ms) - $2, 0),
    count(*),
    (SELECT layout FROM {schema}.id_group WHERE name = $1)
FROM {schema}.id_worker AS w, (SELECT {schema}.now_us() AS now_us) AS clock
WHERE w.group_name = $1 AND w.worker <= $6 AND (w.worker = $5 OR $5::bigint IS NULL)
    AND $7::text IS NOT NULL AND $8::bigint IS NULL
