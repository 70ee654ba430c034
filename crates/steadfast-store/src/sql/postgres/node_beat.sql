-- Renews a lease that is not over, by key, and in place: no index has what changes. Nothing is returned
-- when it is over or was ended; whoever lost it must not have it back.
UPDATE {schema}.node AS node
SET beat_us = clock.now_us, lease_until_us = clock.now_us + $2
FROM (SELECT {schema}.now_us() AS now_us) AS clock
WHERE node.id = $1 AND node.ended_us IS NULL AND node.lease_until_us >= clock.now_us AND $3::bigint IS NULL
RETURNING (SELECT count(*) FROM {schema}.migration WHERE breaking)
