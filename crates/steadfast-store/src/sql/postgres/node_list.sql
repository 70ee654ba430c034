-- Lives of processes, the latest first, along the primary key.
SELECT id, service, version, host, pid, started_us, beat_us, ended_us, {schema}.now_us()
FROM {schema}.node WHERE id < $1 ORDER BY id DESC LIMIT $2
