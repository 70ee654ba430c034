-- Has the database refuse if it takes no writes; with ?1, by writing: the latest token as it is.
--
-- By the primary key. Without ?1 no row is read, and a file that is read-only is refused all the same.
UPDATE steadfast_api_token SET name = name
WHERE ?1 = 1 AND id = (SELECT max(id) FROM steadfast_api_token)
