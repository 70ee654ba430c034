-- Tags after ?1, at most ?2, with their next number. By the primary key, in its order.
SELECT tag, next FROM steadfast_id_segment WHERE tag > ?1 ORDER BY tag LIMIT ?2
