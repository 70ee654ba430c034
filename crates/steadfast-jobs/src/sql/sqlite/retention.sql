-- Sets how long kinds are kept, and takes that away from others that this program knows.
DELETE FROM steadfast_job_retention
WHERE kind IN (SELECT value FROM json_each(?1)) AND kind NOT IN (SELECT value->>0 FROM json_each(?2));

INSERT INTO steadfast_job_retention (kind, completed_us, cancelled_us, discarded_us, quarantined_us)
SELECT g.value->>0, g.value->>1, g.value->>2, g.value->>3, g.value->>4 FROM json_each(?2) AS g
WHERE true
ON CONFLICT (kind) DO UPDATE SET
    completed_us = excluded.completed_us, cancelled_us = excluded.cancelled_us,
    discarded_us = excluded.discarded_us, quarantined_us = excluded.quarantined_us
