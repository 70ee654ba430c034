-- Counts the processes of a line that have given a sign within ?4 microseconds, and those of them that have a revision in
-- force, along the primary key.
SELECT count(*), count(*) FILTER (WHERE revision = ?3) FROM steadfast_policy_follower
WHERE namespace = ?1 AND base = ?2 AND seen_us > CAST(unixepoch('subsec') * 1000000 AS INTEGER) - ?4
