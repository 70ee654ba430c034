-- Notes which revision a process has in force. Those of the namespace that have given no sign for ?5 microseconds are taken
-- out along the way, along the primary key.
DELETE FROM steadfast_policy_follower
WHERE namespace = ?1 AND seen_us <= CAST(unixepoch('subsec') * 1000000 AS INTEGER) - ?5 AND process <> ?3;
INSERT INTO steadfast_policy_follower (namespace, base, process, revision, seen_us)
VALUES (?1, ?2, ?3, ?4, CAST(unixepoch('subsec') * 1000000 AS INTEGER))
ON CONFLICT (namespace, base, process) DO UPDATE SET revision = excluded.revision, seen_us = excluded.seen_us
