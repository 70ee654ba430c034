-- Forgets writers that have not written for so long.
DELETE FROM steadfast_batch_writer WHERE written_us < CAST(unixepoch('subsec') * 1000000 AS INTEGER) - ?1
