-- SQLite has no sequences, so none has any name.
SELECT 0, 0, 0 WHERE ?1 IS NULL
