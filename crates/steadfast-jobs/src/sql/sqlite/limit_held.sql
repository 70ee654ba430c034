-- Has what a node runs of a queue count against its limits: what it claimed while they were being set. Asked by
-- each node when it learns of them.
UPDATE steadfast_job SET limit_key = ''
WHERE state = 'running' AND incarnation = ?1 AND queue = ?2 AND limit_key IS NULL
