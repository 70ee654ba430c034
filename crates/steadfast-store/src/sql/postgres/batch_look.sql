-- Who waits for locks in this database, where the log is, and where the replicas are: how many, how many of them
-- do not show it, and where the one farthest behind is. A slot without a connection is a replica that is away.
-- Reads shared memory alone; locks nothing.
SELECT
    (SELECT count(DISTINCT l.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE NOT l.granted AND a.datname = current_database())::bigint,
    CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint END,
    count(*)::bigint,
    (count(*) FILTER (WHERE replica.replayed IS NULL))::bigint,
    pg_wal_lsn_diff(min(replica.replayed), '0/0')::bigint
FROM (
    SELECT coalesce(r.replay_lsn, s.confirmed_flush_lsn, r.flush_lsn, s.restart_lsn) AS replayed
    FROM (SELECT * FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup') r
    FULL JOIN (SELECT * FROM pg_replication_slots WHERE NOT temporary) s ON s.active_pid = r.pid
) replica
