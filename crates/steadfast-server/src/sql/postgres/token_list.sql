-- Tokens, the latest first, along the primary key.
SELECT id, name, role, actions, created_us, expires_us, revoked_us, made_by FROM {schema}.api_token
WHERE id < $1 ORDER BY id DESC LIMIT $2
