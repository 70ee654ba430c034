-- A revision, by key.
SELECT n, base, hash, name, author, reason, changes, at_us, document FROM steadfast_revision
WHERE namespace = ?1 AND n = ?2
