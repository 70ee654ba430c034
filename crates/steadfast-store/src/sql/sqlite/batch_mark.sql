-- Notes that a writer writes its batch of this number; no row comes back if it has been written, or must not be
-- any more.
INSERT INTO steadfast_batch_writer AS writer (id, number, written_us)
VALUES (?1, ?2, CAST(unixepoch('subsec') * 1000000 AS INTEGER))
ON CONFLICT (id) DO UPDATE SET number = excluded.number, written_us = excluded.written_us
WHERE abs(writer.number) < excluded.number
RETURNING number
