-- One row for each life of a process. Ids are never given twice. Times are microseconds since 1970.
CREATE TABLE steadfast_node (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT NOT NULL,
    version TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_us INTEGER NOT NULL,
    beat_us INTEGER NOT NULL,
    lease_until_us INTEGER NOT NULL,
    -- When it was ended, by itself or by others who found it dead; no beat is taken from then on.
    ended_us INTEGER
) STRICT;

-- Terms of all leases come from one counter: they grow even when rows are deleted in between.
CREATE TABLE steadfast_lease_term (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    last INTEGER NOT NULL
) STRICT;
INSERT INTO steadfast_lease_term (only, last) VALUES (1, 0);

CREATE TABLE steadfast_lease (
    name TEXT PRIMARY KEY,
    term INTEGER NOT NULL,
    node INTEGER NOT NULL,
    until_us INTEGER NOT NULL
) STRICT;
