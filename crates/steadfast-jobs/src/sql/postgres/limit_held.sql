-- Has what a node runs of a queue count against its limits: what it claimed while they were being set. Asked by
-- each node when it learns of them, and along `job_running_of`.
UPDATE {schema}.job AS j SET limit_key = ''
WHERE j.state = 'running' AND j.incarnation = $1 AND j.queue = $2 AND j.limit_key IS NULL
