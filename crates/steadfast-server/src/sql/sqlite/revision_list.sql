-- Revisions, the latest first, backwards along the primary key.
SELECT n, base, hash, name, author, reason, changes, at_us FROM steadfast_revision
WHERE namespace = ?1 AND n < ?2 ORDER BY n DESC LIMIT ?3
