-- What is held, and for how many microseconds more, along the primary key.
SELECT path, value, author, reason, at_us, until_us - {schema}.now_us() FROM {schema}.policy_override
WHERE namespace = $1 AND base = $2 AND until_us > {schema}.now_us() ORDER BY at_us, path LIMIT $3
