-- Makes a waiting job pending before its time; gives its id.
UPDATE steadfast_job SET state = 'pending', due_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER) WHERE id = ?1 AND state = 'waiting' AND NOT blocked
RETURNING id
