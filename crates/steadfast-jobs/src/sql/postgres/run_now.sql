-- Makes a waiting job pending before its time; gives its id. By the primary key.
UPDATE {schema}.job SET state = 'pending', due_us = {schema}.now_us()
WHERE id = $1 AND state = 'waiting' AND NOT blocked
RETURNING id
