-- Which file the ids were made from; the first one that asks is noted. One row.
INSERT INTO steadfast_id_file (only, file) VALUES (1, ?1) ON CONFLICT DO NOTHING;
SELECT file FROM steadfast_id_file
