-- Takes out what is held for a field, by key; tells whether it was not over.
DELETE FROM steadfast_policy_override WHERE namespace = ?1 AND base = ?2 AND path = ?3
RETURNING CASE WHEN until_us > CAST(unixepoch('subsec') * 1000000 AS INTEGER) THEN 1 ELSE 0 END
