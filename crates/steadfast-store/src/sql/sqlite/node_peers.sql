-- Lives of other processes on this host. Reads the whole table, which has a row for each process.
SELECT id, lock FROM steadfast_node WHERE ended_us IS NULL AND boot = ?1 AND id <> ?2 LIMIT 1000
