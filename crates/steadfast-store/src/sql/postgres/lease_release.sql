-- Gives a lease back, by key, if it is still this one.
DELETE FROM {schema}.lease WHERE name = $1 AND holder = $2 AND term = $3
