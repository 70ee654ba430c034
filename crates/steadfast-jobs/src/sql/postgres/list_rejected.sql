-- Lists ends of runs that did not count, the latest first, from (time, id) on. Along `job_rejected_noted`.
SELECT job_id, term, incarnation, kind, attempt::bigint, wanted, error, noted_us FROM {schema}.job_rejected
WHERE (noted_us, job_id) < ($1, $2)
ORDER BY noted_us DESC, job_id DESC LIMIT $3
