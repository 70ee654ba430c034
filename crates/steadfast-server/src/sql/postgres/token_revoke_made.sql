-- Revokes the tokens that some have made; gives those that held. There are few tokens, and this is rare: all are read.
UPDATE {schema}.api_token SET revoked_us = {schema}.now_us()
WHERE made_by = ANY($1::bigint[]) AND revoked_us IS NULL RETURNING id, name
