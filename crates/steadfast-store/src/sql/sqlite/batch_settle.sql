-- Notes, by the sign of its number, that a writer does not write its batch of this number any more, unless it has: an attempt
-- that comes later finds that. Gives what is noted then: the number itself if the batch is written. Waits for an attempt
-- that is at it. Locks one row by key.
INSERT INTO steadfast_batch_writer AS writer (id, number, written_us)
VALUES (?1, -?2, CAST(unixepoch('subsec') * 1000000 AS INTEGER))
ON CONFLICT (id) DO UPDATE SET written_us = excluded.written_us,
    number = CASE WHEN abs(writer.number) < -excluded.number THEN excluded.number ELSE writer.number END
RETURNING number
