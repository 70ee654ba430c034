-- A group is a set of ids that are compared with each other: one layout, and one row for each worker id.
CREATE TABLE {schema}.id_group (
    name       text   NOT NULL PRIMARY KEY,
    -- Which bits say what, as `Layout` writes it.
    layout     text   NOT NULL,
    -- No id of this layout says an earlier time: those before it are of another layout. In milliseconds
    -- since 1970.
    floor_ms   bigint NOT NULL DEFAULT 0,

    CONSTRAINT id_group_name CHECK (octet_length(name) BETWEEN 1 AND 100)
);

CREATE TABLE {schema}.id_worker (
    group_name text   NOT NULL REFERENCES {schema}.id_group (name),
    worker     bigint NOT NULL,
    -- The fence: grows with each lease, and whatever a holder writes carries it.
    term       bigint NOT NULL DEFAULT 0,
    -- Who has it, drawn by each process at its start and kept nowhere else; nobody after it was given back.
    holder     text,
    -- When the lease ends, or when it was given back. Microseconds since 1970, by the clock of the database.
    until_us   bigint NOT NULL DEFAULT 0,
    -- All ids of this worker say a time before this one: reserved before they are made, so it is true whatever
    -- becomes of the process. Milliseconds since 1970.
    mark_ms    bigint NOT NULL DEFAULT 0,
    -- What the mark was when the present term began: its ids say no earlier time.
    from_ms    bigint NOT NULL DEFAULT 0,

    PRIMARY KEY (group_name, worker),
    CONSTRAINT id_worker_number CHECK (worker >= 0)
) WITH (fillfactor = 50);

-- Dense ids: the next number of each tag.
CREATE TABLE {schema}.id_segment (
    tag        text   NOT NULL PRIMARY KEY,
    next       bigint NOT NULL,

    CONSTRAINT id_segment_tag CHECK (octet_length(tag) BETWEEN 1 AND 100),
    CONSTRAINT id_segment_next CHECK (next >= 1)
) WITH (fillfactor = 50);
