-- Says that this file is the one, and what it was copied from is not used any more.
INSERT INTO steadfast_id_file (only, file) VALUES (1, ?1) ON CONFLICT (only) DO UPDATE SET file = excluded.file
