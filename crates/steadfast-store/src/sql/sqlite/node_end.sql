-- Ends a life that is known to be over, by key.
UPDATE steadfast_node SET ended_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER)
WHERE id = ?1 AND ended_us IS NULL
RETURNING id
