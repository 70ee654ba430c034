-- Tells what a node holds by the books: for a node that lost a reply.
SELECT id, term FROM steadfast_job WHERE incarnation = ?1 AND state = 'running'
