-- Tells which jobs have these keys. By `job_unique` and the primary key of `job_key`.
SELECT unique_key, id FROM {schema}.job WHERE unique_key = ANY ($1::text[]) AND unique_us IS NULL
UNION ALL
SELECT key, job_id FROM {schema}.job_key WHERE key = ANY ($1::text[])
