-- What is held, and for how many microseconds more, along the primary key.
SELECT path, value, author, reason, at_us, until_us - CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM steadfast_policy_override
WHERE namespace = ?1 AND base = ?2 AND until_us > CAST(unixepoch('subsec') * 1000000 AS INTEGER) ORDER BY at_us, path LIMIT ?3
