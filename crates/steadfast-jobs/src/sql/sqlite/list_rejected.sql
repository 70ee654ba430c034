-- Lists ends of runs that did not count, the latest first, from (time, id) on. Along `steadfast_job_rejected_noted`.
SELECT job_id, term, incarnation, kind, attempt, wanted, error, noted_us FROM steadfast_job_rejected
WHERE (noted_us, job_id) < (?1, ?2)
ORDER BY noted_us DESC, job_id DESC LIMIT ?3
