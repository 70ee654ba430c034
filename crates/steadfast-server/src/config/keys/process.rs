//! Where the process keeps its work, what it is among others, how it ends, and what it says.

use super::Section;
use super::key::Takes::{Choice, Flag, Number, Text, Time};
use super::key::Without::{Default, Nothing};
use super::key::{Key, key};

pub(super) static STORE: Section = Section {
    name: "store",
    what: "Where jobs and schedules are kept.",
    example: "",
    keys: &[
        &STORE_URL,
        &STORE_POOLER,
        &STORE_CONNECTIONS,
        &STORE_MIGRATE,
    ],
};

pub(super) static NODE: Section = Section {
    name: "node",
    what: "What this process is among those that share the store.",
    example: "",
    keys: &[&NODE_SERVICE, &NODE_LEASE],
};

pub(super) static QUEUES: Section = Section {
    name: "queues.NAME",
    what: "How much of a queue runs here. The queue `default` is there without being named.",
    example: "queues.default",
    keys: &[&QUEUE_PERMITS],
};

pub(super) static SHUTDOWN: Section = Section {
    name: "shutdown",
    what: "How the program ends.",
    example: "",
    keys: &[&SHUTDOWN_DRAIN, &SHUTDOWN_NOT_READY],
};

pub(super) static LOG: Section = Section {
    name: "log",
    what: "What the program says.",
    example: "",
    keys: &[&LOG_FORMAT, &LOG_LEVEL],
};

pub(super) static HEALTH: Section = Section {
    name: "health",
    what: "Whether it is alive and ready, and its numbers for a Prometheus.",
    example: "",
    keys: &[&HEALTH_LISTEN],
};

pub(in crate::config) static STORE_URL: Key = key(
    "url",
    Text(2_000),
    "where jobs and schedules are kept: `sqlite:PATH`, `postgres://…`, or `env:VARIABLE` or `file:PATH` that has it. A relative path, also that of any `file:`, begins in the folder of this file. One with a password in it is refused here",
    Default(
        "\"sqlite:steadfast.db\"",
        "one file, nothing to install; PostgreSQL when one machine is not enough",
    ),
);

pub(in crate::config) static STORE_POOLER: Key = key(
    "pooler",
    Choice(&["none", "transaction"]),
    "what stands before PostgreSQL: `transaction` for PgBouncer with `pool_mode = transaction`",
    Default("\"none\"", "most have none"),
);

pub(in crate::config) static STORE_CONNECTIONS: Key = key(
    "connections",
    Number(1..=1_000),
    "how many connections to PostgreSQL, or readers of SQLite, at most",
    Nothing("10 for PostgreSQL, 4 for SQLite", "10"),
);

pub(in crate::config) static STORE_MIGRATE: Key = key(
    "migrate",
    Flag,
    "whether missing migrations are applied when the program starts; `false` where a program under another user does so",
    Default("true", "a new version should start without further steps"),
);

pub(in crate::config) static NODE_SERVICE: Key = key(
    "service",
    Text(100),
    "what this process is called among the nodes of the store",
    Default("\"steadfast\"", "the name of the program"),
);

pub(in crate::config) static NODE_LEASE: Key = key(
    "lease",
    Time("1s"..="1h"),
    "how long others wait before they take over the jobs of a process that gives no sign; three beats",
    Default("\"30s\"", "one beat may be lost and one be slow"),
);

pub(in crate::config) static QUEUE_PERMITS: Key = key(
    "permits",
    Number(1..=10_000),
    "how many of its jobs this process runs at once",
    Default("16", "a process or a call each, so a few for every core"),
);

pub(in crate::config) static SHUTDOWN_DRAIN: Key = key(
    "drain",
    Time("0s"..="1h"),
    "how long jobs that run may go on after SIGTERM; then they are told to end and handed back",
    Default(
        "\"20s\"",
        "below the 30 s that orchestrators wait before they kill",
    ),
);

pub(in crate::config) static SHUTDOWN_NOT_READY: Key = key(
    "not_ready",
    Time("0s"..="5m"),
    "how long to go on as usual after SIGTERM while `/readyz` already says no: two polls of a load balancer",
    Default("\"0s\"", "nobody sends requests to what only runs jobs"),
);

pub(in crate::config) static LOG_FORMAT: Key = key(
    "format",
    Choice(&["text", "json"]),
    "how lines are written to standard error",
    Default("\"text\"", "people read it first"),
);

pub(in crate::config) static LOG_LEVEL: Key = key(
    "level",
    Text(1_000),
    "what is written, as `RUST_LOG` says it, which goes first where it is set: `info,steadfast::access=off`",
    Default("\"info\"", "each failure, and a line for each request"),
);

pub(in crate::config) static HEALTH_LISTEN: Key = key(
    "listen",
    Text(100),
    "where `/livez`, `/readyz` and `/metrics` are served",
    Default(
        "\"127.0.0.1:4010\"",
        "loopback: who else may read it is your decision",
    ),
);
