-- Keeps a row that was given up: of which table, why, and the row as JSON.
INSERT INTO {schema}.batch_dead (target, reason, document, dead_us)
VALUES ($1, $2, $3, {schema}.now_us())
