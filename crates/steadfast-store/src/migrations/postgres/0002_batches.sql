-- What each writer of batches has written last: a batch whose commit was not answered is known by it. Nothing that
-- changes is indexed, so that a batch is an update in place.
CREATE TABLE {schema}.batch_writer (
    id bigint PRIMARY KEY,
    number bigint NOT NULL,
    written_us bigint NOT NULL
) WITH (fillfactor = 50);

-- Rows that could not be written, and why.
CREATE TABLE {schema}.batch_dead (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target text NOT NULL,
    reason text NOT NULL,
    document text NOT NULL,
    dead_us bigint NOT NULL
);
