-- Notes a migration, in the transaction that applied it.
INSERT INTO {schema}.migration (package, number, name, hash, breaking, applied_us)
VALUES ($1, $2, $3, $4, $5, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
