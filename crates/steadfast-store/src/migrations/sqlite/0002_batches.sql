-- What each writer of batches has written last: a batch whose commit was not answered is known by it.
CREATE TABLE steadfast_batch_writer (
    id INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    written_us INTEGER NOT NULL
) STRICT;

-- Rows that could not be written, and why.
CREATE TABLE steadfast_batch_dead (
    id INTEGER PRIMARY KEY,
    target TEXT NOT NULL,
    reason TEXT NOT NULL,
    document TEXT NOT NULL,
    dead_us INTEGER NOT NULL
) STRICT;
