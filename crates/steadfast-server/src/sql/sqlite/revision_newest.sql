-- The newest revision over what processes were started with (?2), of those between ?3 and ?4, backwards along the index by
-- base.
SELECT n, base, hash, name, author, reason, changes, at_us, document FROM steadfast_revision
WHERE namespace = ?1 AND base = ?2 AND n > ?3 AND n < ?4 ORDER BY n DESC LIMIT 1
