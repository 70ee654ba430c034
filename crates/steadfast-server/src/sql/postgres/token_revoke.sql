-- Revokes a token, by key; gives nothing where there is none that holds.
UPDATE {schema}.api_token SET revoked_us = {schema}.now_us()
WHERE id = $1 AND revoked_us IS NULL RETURNING id, name
