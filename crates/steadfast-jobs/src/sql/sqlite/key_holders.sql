-- Tells which jobs have the unique keys of these, which have ended: (id, id of the other).
SELECT h.id, coalesce(j.id, k.job_id)
FROM steadfast_job_history AS h
LEFT JOIN steadfast_job AS j ON j.unique_key = h.unique_key AND j.unique_key IS NOT NULL AND j.unique_us IS NULL
LEFT JOIN steadfast_job_key AS k
    ON k.key = h.unique_key AND h.unique_us IS NOT NULL AND k.job_id <> h.id
        AND k.until_us > CAST(unixepoch('subsec') * 1000000 AS INTEGER)
WHERE h.id IN (SELECT value FROM json_each(?1)) AND h.state <> 'completed' AND h.unique_key IS NOT NULL
    AND (j.id IS NOT NULL OR k.job_id IS NOT NULL)
