-- Adds a revision over what processes were started with ($2), if the latest over that is the one that was seen ($3; 0 is
-- none), and gives its number, the next of the namespace, and when. Gives nothing where somebody was faster, or has taken
-- the number in the same moment. By the primary key and the index by base,
-- either of which may be the one that finds it taken.
INSERT INTO {schema}.revision (namespace, base, n, hash, name, document, author, reason, changes, at_us)
SELECT $1, $2, coalesce((SELECT max(n) FROM {schema}.revision WHERE namespace = $1), 0) + 1,
    $4, $5, $6, $7, $8, $9::bigint, {schema}.now_us()
WHERE coalesce((SELECT max(n) FROM {schema}.revision WHERE namespace = $1 AND base = $2), 0) = $3
ON CONFLICT DO NOTHING
RETURNING n, at_us
