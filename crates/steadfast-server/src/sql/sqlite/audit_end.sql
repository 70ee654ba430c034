-- Notes what became of an action, by key, once.
UPDATE steadfast_api_audit SET outcome = ?2 WHERE id = ?1 AND outcome IS NULL
