-- Tells which jobs have these keys.
SELECT j.unique_key, j.id FROM steadfast_job AS j
WHERE j.unique_key IN (SELECT value FROM json_each(?1)) AND j.unique_key IS NOT NULL AND j.unique_us IS NULL
UNION ALL
SELECT k.key, k.job_id FROM steadfast_job_key AS k WHERE k.key IN (SELECT value FROM json_each(?1))
