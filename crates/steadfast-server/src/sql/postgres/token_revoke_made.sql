-- Revokes the tokens that some have made; gives those that held. Along the index api_token_made_by.
UPDATE {schema}.api_token SET revoked_us = {schema}.now_us()
WHERE made_by = ANY($1::bigint[]) AND revoked_us IS NULL RETURNING id, name
