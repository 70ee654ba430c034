-- Keeps a row that was given up: of which table, why, and the row as JSON.
INSERT INTO steadfast_batch_dead (target, reason, document, dead_us)
VALUES (?1, ?2, ?3, CAST(unixepoch('subsec') * 1000000 AS INTEGER))
