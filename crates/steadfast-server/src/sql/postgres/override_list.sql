-- What is held in a namespace, and for how many microseconds more, along the primary key; first what is held against what
-- processes were started with ($2).
SELECT path, value, author, reason, at_us, until_us - {schema}.now_us(), base FROM {schema}.policy_override
WHERE namespace = $1 AND until_us > {schema}.now_us() ORDER BY base <> $2, at_us, path LIMIT $3
