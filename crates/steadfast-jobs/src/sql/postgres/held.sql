-- Tells what a node holds of some queues by the books: for a worker that lost a reply. Along `job_running_of`.
SELECT id, term FROM {schema}.job WHERE incarnation = $1 AND state = 'running' AND queue = ANY ($2::text[])
