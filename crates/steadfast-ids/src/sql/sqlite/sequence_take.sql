-- SQLite has no sequences, so there is no next value.
SELECT 0 WHERE ?1 IS NULL
