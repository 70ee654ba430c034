-- Registers a new life of a process. $8 is the clock of the host, which PostgreSQL does not use.
INSERT INTO {schema}.node (service, version, host, pid, boot, lock, started_us, beat_us, lease_until_us)
SELECT $1, $2, $3, $4, $5, $6, clock.now_us, clock.now_us, clock.now_us + $7
FROM (SELECT {schema}.now_us() AS now_us) AS clock
WHERE $8::bigint IS NULL
RETURNING id
