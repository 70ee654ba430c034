-- Notes ends of runs that did not count. Inserts only.
INSERT INTO steadfast_job_rejected (job_id, term, incarnation, kind, attempt, wanted, error, noted_us)
SELECT
    g.value->>0, g.value->>1, ?2, g.value->>2, g.value->>3, g.value->>4, g.value->>5,
    CAST(unixepoch('subsec') * 1000000 AS INTEGER)
FROM json_each(?1) AS g
WHERE true
ON CONFLICT (job_id, term) DO NOTHING
