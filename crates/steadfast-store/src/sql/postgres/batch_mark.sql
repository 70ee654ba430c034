-- Notes that a writer writes its batch of this number; no row comes back if it has been written, or must not be any more.
-- Numbers of a writer only grow, and it writes one batch at a time, so one row a writer is enough. Locks that row by key.
INSERT INTO {schema}.batch_writer AS writer (id, number, written_us)
VALUES ($1, $2, {schema}.now_us())
ON CONFLICT (id) DO UPDATE SET number = excluded.number, written_us = excluded.written_us
WHERE abs(writer.number) < excluded.number
RETURNING number
