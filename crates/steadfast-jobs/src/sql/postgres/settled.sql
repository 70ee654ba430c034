-- Tells which of these runs have ended under these terms: for a node that lost the reply to
-- `exchange` and sends it again. By the primary key.
SELECT h.id FROM unnest($1::bigint[], $2::bigint[]) AS e (id, term)
JOIN {schema}.job_history AS h ON h.id = e.id AND h.term = e.term
