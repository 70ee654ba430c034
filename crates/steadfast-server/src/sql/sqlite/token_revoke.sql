-- Revokes a token, by key; gives nothing where there is none that holds.
UPDATE steadfast_api_token SET revoked_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER)
WHERE id = ?1 AND revoked_us IS NULL RETURNING id, name
