-- What has been applied of a package. A few rows.
SELECT number, name, hash, breaking FROM steadfast_migration WHERE package = ?1 ORDER BY number
