-- Lives of processes, the latest first, along the primary key.
SELECT id, service, version, host, pid, started_us, beat_us, ended_us,
    CAST(unixepoch('subsec') * 1000000 AS INTEGER)
FROM steadfast_node WHERE id < ?1 ORDER BY id DESC LIMIT ?2
