-- Tells which of these runs have ended under these terms, and how: for a node that lost the reply to
-- `exchange` and sends it again. By the primary key, with its lists.
SELECT h.id, h.state FROM unnest((SELECT $1::bigint[]), (SELECT $2::bigint[])) AS e (id, term)
JOIN {schema}.job_history AS h ON h.id = e.id AND h.term = e.term
