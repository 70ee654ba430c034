-- A revision, by key.
SELECT n, base, hash, name, author, reason, changes, at_us, document FROM {schema}.revision
WHERE namespace = $1 AND n = $2
