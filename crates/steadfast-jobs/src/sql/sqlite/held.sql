-- Tells what a node holds of some queues by the books: for a worker that lost a reply.
SELECT id, term FROM steadfast_job WHERE incarnation = ?1 AND state = 'running' AND queue IN (SELECT value FROM json_each(?2))
