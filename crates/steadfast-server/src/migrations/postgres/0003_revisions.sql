-- What was put in force, and stays so beyond the life of a process. Times are microseconds since 1970.

-- Documents that were put in force, in a namespace, which is a service. Each stands on what processes were started with
-- (base, the hash of that document), and is followed by those that were: a process with another file has a line of its own.
CREATE TABLE {schema}.revision (
    namespace text   NOT NULL,
    n         bigint NOT NULL CHECK (n > 0),
    base      text   NOT NULL,
    hash      text   NOT NULL,
    name      text   NOT NULL,
    document  text   NOT NULL,
    author    text   NOT NULL,
    reason    text   NOT NULL,
    -- How many fields it has changed; absent for what processes were started with.
    changes   bigint,
    at_us     bigint NOT NULL,
    PRIMARY KEY (namespace, n),
    UNIQUE (namespace, base, n)
);

-- What operators hold against it for a while, by field.
CREATE TABLE {schema}.policy_override (
    namespace text   NOT NULL,
    base      text   NOT NULL,
    path      text   NOT NULL,
    value     text   NOT NULL,
    author    text   NOT NULL,
    reason    text   NOT NULL,
    at_us     bigint NOT NULL,
    until_us  bigint NOT NULL,
    PRIMARY KEY (namespace, base, path)
);
