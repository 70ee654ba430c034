-- Adds a token; gives its id and when it expires.
INSERT INTO steadfast_api_token (name, hash, role, actions, created_us, expires_us)
SELECT ?1, ?2, ?3, ?5, clock.now_us, clock.now_us + ?4
FROM (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now_us) AS clock
RETURNING id, expires_us
