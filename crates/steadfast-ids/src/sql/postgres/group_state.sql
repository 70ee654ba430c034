-- How many worker ids of a group are leased, or were within the rest of $2 microseconds, and before which time
-- all its ids are. Reads the rows of the group. $3 and $4, boot and clock of the host, are not used here.
SELECT count(*) FILTER (WHERE until_us + $2 >= {schema}.now_us()), coalesce(max(mark_ms), 0)
FROM {schema}.id_worker
WHERE group_name = $1 AND $3::text IS NOT NULL AND $4::bigint IS NULL
