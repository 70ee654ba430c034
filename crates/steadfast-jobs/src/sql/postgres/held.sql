-- Tells what a node holds by the books: for a node that lost a reply. Along `job_running_of`.
SELECT id, term FROM {schema}.job WHERE incarnation = $1 AND state = 'running'
