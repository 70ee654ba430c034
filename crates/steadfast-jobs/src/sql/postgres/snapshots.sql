-- Gives who has held a snapshot of this database for longer than a length of time, the oldest first, at most so
-- many: (pid or 0, application, user, state, for how long). Until they end, vacuum cleans up nothing that was
-- deleted since. A vacuum is none of them, however long it takes: others pass over its snapshot.
--
-- Sessions of other users are seen with the rights of `pg_read_all_stats` alone.
SELECT h.pid, h.application, h.held_by, h.state, (extract(epoch FROM h.held_for) * 1000000)::bigint
FROM (
    SELECT a.pid::bigint AS pid, coalesce(a.application_name, '') AS application,
        coalesce(a.usename::text, '') AS held_by, coalesce(a.state, '') AS state,
        clock_timestamp() - a.xact_start AS held_for
    FROM pg_stat_activity AS a
    WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
        AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
        AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_vacuum AS v WHERE v.pid = a.pid)
    UNION ALL
    SELECT 0, p.gid, p.owner::text, 'prepared', clock_timestamp() - p.prepared
    FROM pg_prepared_xacts AS p
    WHERE p.database = current_database()
) AS h
WHERE h.held_for > $1::bigint * interval '1 microsecond'
ORDER BY h.held_for DESC
LIMIT $2
