-- Notes a migration, in the transaction that applied it.
INSERT INTO steadfast_migration (package, number, name, hash, breaking, applied_us)
VALUES (?1, ?2, ?3, ?4, ?5, CAST(unixepoch('subsec') * 1000000 AS INTEGER))
