-- Ends all whose lease is over, and forgets those that ended long ago ($3 microseconds). Reads the whole
-- table, which has a row for each process. $1 and $2, clock and boot of the host, are not used here.
WITH clock AS MATERIALIZED (
    SELECT {schema}.now_us() AS now_us WHERE $1::bigint IS NULL AND $2::text IS NOT NULL
), forgotten AS (
    DELETE FROM {schema}.node USING clock WHERE node.ended_us < clock.now_us - $3
)
UPDATE {schema}.node SET ended_us = clock.now_us
FROM clock
WHERE node.ended_us IS NULL AND node.lease_until_us < clock.now_us
RETURNING node.id
