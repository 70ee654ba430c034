-- Has the database refuse if it takes no writes; with $1, by writing: the latest token as it is.
--
-- By the primary key. Without $1 no row is read, and a database that is read-only refuses all the same.
UPDATE {schema}.api_token SET name = name
WHERE $1::bigint = 1 AND id = (SELECT max(id) FROM {schema}.api_token)
