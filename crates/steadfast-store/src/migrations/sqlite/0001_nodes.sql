-- One row for each life of a process. Ids are never given twice. Times are microseconds since 1970.
CREATE TABLE steadfast_node (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT NOT NULL,
    version TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    -- The host since it was last started, and the file that the process keeps locked there: who finds
    -- the file unlocked knows that the process is dead.
    boot TEXT NOT NULL,
    lock TEXT NOT NULL,
    started_us INTEGER NOT NULL,
    beat_us INTEGER NOT NULL,
    -- By the clock of the host, counted from its start: the time of day may be set, this one not.
    lease_until_boot_us INTEGER NOT NULL,
    -- When it was ended, by itself or by others who found it dead; no beat is taken from then on. This
    -- is what other packages look at: whether a lease is over is judged by the store alone.
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
    holder TEXT NOT NULL,
    boot TEXT NOT NULL,
    until_boot_us INTEGER NOT NULL
) STRICT;
