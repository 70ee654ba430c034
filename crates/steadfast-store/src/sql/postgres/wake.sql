-- Wakes whoever listens, of all processes. By itself, after the commit of what they shall see: commits
-- with wake-ups wait for each other.
SELECT pg_notify($1, $2)
