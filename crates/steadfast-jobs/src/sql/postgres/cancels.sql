-- Tells which runs of a node somebody wants to stop. Along `job_cancel`, which holds only those.
SELECT id, term, cancel FROM {schema}.job WHERE incarnation = $1 AND cancel IS NOT NULL
