-- Tells which of these runs have ended under these terms, and how: for a node that lost the reply to
-- `exchange` and sends it again.
SELECT h.id, h.state FROM json_each(?1) AS e CROSS JOIN steadfast_job_history AS h
WHERE h.id = e.value->>0 AND h.term = e.value->>1
