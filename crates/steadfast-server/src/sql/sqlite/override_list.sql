-- What is held in a namespace, and for how many microseconds more, along the primary key; first what is held against what
-- processes were started with (?2).
SELECT path, value, author, reason, at_us, until_us - CAST(unixepoch('subsec') * 1000000 AS INTEGER), base FROM steadfast_policy_override
WHERE namespace = ?1 AND until_us > CAST(unixepoch('subsec') * 1000000 AS INTEGER) ORDER BY base <> ?2, at_us, path LIMIT ?3
