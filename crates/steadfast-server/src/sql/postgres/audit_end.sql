-- Notes what became of an action, by key, once.
UPDATE {schema}.api_audit SET outcome = $2 WHERE id = $1 AND outcome IS NULL
