-- Revokes the tokens that some have made; gives those that held. There are few tokens, and this is rare: all are read.
UPDATE steadfast_api_token SET revoked_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER)
WHERE made_by IN (SELECT value FROM json_each(?1)) AND revoked_us IS NULL RETURNING id, name
