-- Renews a lease that is not over, by key, and in place. Nothing is returned when it is over.
UPDATE {schema}.lease SET until_us = {schema}.now_us() + $4
WHERE name = $1 AND holder = $2 AND term = $3 AND until_us >= {schema}.now_us() AND $5::bigint IS NULL
RETURNING term
