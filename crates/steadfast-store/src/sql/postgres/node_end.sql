-- Ends a life that is known to be over, by key.
UPDATE {schema}.node SET ended_us = {schema}.now_us() WHERE id = $1 AND ended_us IS NULL RETURNING id
