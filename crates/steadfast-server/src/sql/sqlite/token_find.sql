-- Gives a token that holds, by its hash, along the unique index.
SELECT id, name, role, actions FROM steadfast_api_token
WHERE hash = ?1 AND revoked_us IS NULL AND expires_us > CAST(unixepoch('subsec') * 1000000 AS INTEGER)
