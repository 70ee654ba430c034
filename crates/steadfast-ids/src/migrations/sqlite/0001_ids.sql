-- A group is a set of ids that are compared with each other: one layout, and one row for each worker id.
CREATE TABLE steadfast_id_group (
    name          TEXT    NOT NULL PRIMARY KEY,
    -- Which bits say what, as `Layout` writes it.
    layout        TEXT    NOT NULL,
    -- No id of this layout says an earlier time: those before it are of another layout. In milliseconds
    -- since 1970.
    floor_ms      INTEGER NOT NULL DEFAULT 0,

    CONSTRAINT id_group_name CHECK (length(name) BETWEEN 1 AND 100)
) STRICT, WITHOUT ROWID;

CREATE TABLE steadfast_id_worker (
    group_name    TEXT    NOT NULL REFERENCES steadfast_id_group (name),
    worker        INTEGER NOT NULL,
    -- The fence: grows with each lease, and whatever a holder writes carries it.
    term          INTEGER NOT NULL DEFAULT 0,
    -- Who has it, drawn by each process at its start and kept nowhere else; nobody after it was given back.
    holder        TEXT,
    -- When the lease ends, or when it was given back: by the clock of the host since its start, which nobody
    -- can set, and which start that was.
    boot          TEXT    NOT NULL DEFAULT '',
    until_boot_us INTEGER NOT NULL DEFAULT 0,
    -- All ids of this worker say a time before this one: reserved before they are made, so it is true whatever
    -- becomes of the process. Milliseconds since 1970.
    mark_ms       INTEGER NOT NULL DEFAULT 0,
    -- What the mark was when the present term began: its ids say no earlier time.
    from_ms       INTEGER NOT NULL DEFAULT 0,

    PRIMARY KEY (group_name, worker),
    CONSTRAINT id_worker_number CHECK (worker >= 0)
) STRICT, WITHOUT ROWID;

-- Dense ids: the next number of each tag.
CREATE TABLE steadfast_id_segment (
    tag           TEXT    NOT NULL PRIMARY KEY,
    next          INTEGER NOT NULL,

    CONSTRAINT id_segment_tag CHECK (length(tag) BETWEEN 1 AND 100),
    CONSTRAINT id_segment_next CHECK (next >= 1)
) STRICT, WITHOUT ROWID;

-- Which file this is. A copy of it has this row, and is another file.
CREATE TABLE steadfast_id_file (
    only          INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    file          TEXT    NOT NULL
) STRICT;
