-- Adds a token; gives its id and when it expires: not after the one that makes it ($6), if that is one. Gives nothing where
-- that holds no more; its row is locked, so that who revokes it at this moment revokes this one, too.
WITH maker AS (
    SELECT expires_us FROM {schema}.api_token
    WHERE id = $6::bigint AND revoked_us IS NULL AND expires_us > {schema}.now_us() FOR SHARE
)
INSERT INTO {schema}.api_token (name, hash, role, actions, created_us, expires_us, made_by)
SELECT $1, $2, $3, $5, clock.now_us, least(clock.now_us + $4, maker.expires_us), $6::bigint
FROM (SELECT {schema}.now_us() AS now_us) AS clock LEFT JOIN maker ON true
WHERE $6::bigint IS NULL OR maker.expires_us IS NOT NULL
RETURNING id, expires_us
