-- What was put in force, and stays so beyond the life of a process. Times are microseconds since 1970.

-- Documents that were put in force, in a namespace, which is a service. Each stands on what processes were started with
-- (base, the hash of that document), and is followed by those that were: a process with another file has a line of its own.
CREATE TABLE steadfast_revision (
    namespace TEXT    NOT NULL,
    n         INTEGER NOT NULL CHECK (n > 0),
    base      TEXT    NOT NULL,
    hash      TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    document  TEXT    NOT NULL,
    author    TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    -- How many fields it has changed; absent for what processes were started with.
    changes   INTEGER,
    at_us     INTEGER NOT NULL,
    PRIMARY KEY (namespace, n),
    UNIQUE (namespace, base, n)
) STRICT;

-- What operators hold against it for a while, by field.
CREATE TABLE steadfast_policy_override (
    namespace TEXT    NOT NULL,
    base      TEXT    NOT NULL,
    path      TEXT    NOT NULL,
    value     TEXT    NOT NULL,
    author    TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    at_us     INTEGER NOT NULL,
    until_us  INTEGER NOT NULL,
    PRIMARY KEY (namespace, base, path)
) STRICT;
