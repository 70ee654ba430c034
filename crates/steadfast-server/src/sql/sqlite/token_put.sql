-- Adds a token; gives its id and when it expires: not after the one that makes it (?6), if that is one. Gives nothing where
-- that holds no more.
INSERT INTO steadfast_api_token (name, hash, role, actions, created_us, expires_us, made_by)
SELECT ?1, ?2, ?3, ?5, clock.now_us, min(clock.now_us + ?4, coalesce(maker.expires_us, clock.now_us + ?4)), ?6
FROM (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now_us) AS clock
LEFT JOIN steadfast_api_token AS maker
    ON maker.id = ?6 AND maker.revoked_us IS NULL AND maker.expires_us > clock.now_us
WHERE ?6 IS NULL OR maker.id IS NOT NULL
RETURNING id, expires_us
