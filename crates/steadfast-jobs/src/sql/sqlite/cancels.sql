-- Tells which runs of a node somebody wants to stop. Along `steadfast_job_cancel`, which holds only
-- those.
SELECT id, term, cancel FROM steadfast_job WHERE incarnation = ?1 AND cancel IS NOT NULL
