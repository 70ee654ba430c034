-- Tells which jobs have the unique keys of these, which have ended: (id, id of the other).
--
-- By the primary key, `job_unique` and the primary key of `job_key`.
SELECT h.id, coalesce(j.id, k.job_id)
FROM {schema}.job_history AS h
LEFT JOIN {schema}.job AS j ON j.unique_key = h.unique_key AND j.unique_key IS NOT NULL AND j.unique_us IS NULL
LEFT JOIN {schema}.job_key AS k
    ON k.key = h.unique_key AND h.unique_us IS NOT NULL AND k.job_id <> h.id AND k.until_us > {schema}.now_us()
WHERE h.id = ANY ($1::bigint[]) AND h.state <> 'completed' AND h.unique_key IS NOT NULL
    AND (j.id IS NOT NULL OR k.job_id IS NOT NULL)
