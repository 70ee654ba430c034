-- What has been applied of a package. Locks nothing; a few rows.
SELECT number, name, hash, breaking FROM {schema}.migration WHERE package = $1 ORDER BY number
