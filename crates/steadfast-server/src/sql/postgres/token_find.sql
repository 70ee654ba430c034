-- Gives a token that holds, by its hash, along the unique index.
SELECT id, name, role, actions FROM {schema}.api_token
WHERE hash = $1 AND revoked_us IS NULL AND expires_us > {schema}.now_us()
