-- Notes that a value is held against what processes were started with (?2), for ?5 microseconds, in place of what was held
-- for its field; gives when. What is over in the namespace is taken out along the way, along the primary key.
DELETE FROM steadfast_policy_override WHERE namespace = ?1 AND until_us <= CAST(unixepoch('subsec') * 1000000 AS INTEGER);
INSERT INTO steadfast_policy_override (namespace, base, path, value, author, reason, at_us, until_us)
SELECT ?1, ?2, ?3, ?4, ?6, ?7, clock.now_us, clock.now_us + ?5
FROM (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now_us) AS clock WHERE true
ON CONFLICT (namespace, base, path) DO UPDATE SET value = excluded.value, author = excluded.author,
    reason = excluded.reason, at_us = excluded.at_us, until_us = excluded.until_us
RETURNING at_us
