//! Every key of the configuration: what it takes, what it is for, what holds without it.
//!
//! A key is read by what stands here, and only so: bounds and defaults that are written down for people
//! are those that hold.

use std::ops::RangeInclusive;
use std::time::Duration;

use steadfast::settings::{Table, Value, Wrong, duration};

/// A table of the configuration.
pub(super) struct Section {
    /// Its name; `handlers.NAME` for tables with names.
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// A name, where it has to be shown with one.
    pub(super) example: &'static str,
    pub(super) keys: &'static [&'static Key],
}

/// A key of a table.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    pub(super) says: &'static str,
    pub(super) without: Without,
}

/// What a value has to be.
pub(super) enum Takes {
    Time(RangeInclusive<&'static str>),
    Number(RangeInclusive<i64>),
    Flag,
    /// 1 to so many bytes without control characters.
    Text(usize),
    /// At most so many of them.
    Texts(usize),
    Numbers(usize, RangeInclusive<i64>),
    Choice(&'static [&'static str]),
}

/// What holds when the key is not there.
pub(super) enum Without {
    /// This, as it would be written, and why.
    Default(&'static str, &'static str),
    /// Nothing of the kind; what then holds, and how it could be written.
    Nothing(&'static str, &'static str),
    /// It has to be there; how it could be written.
    Refused(&'static str),
}

impl Key {
    pub(super) fn time(&self, table: &mut Table<'_, '_>) -> Option<Duration> {
        let Takes::Time(range) = &self.takes else {
            unreachable!("{} takes no time", self.name);
        };
        let bound = |text: &str| duration(text).unwrap_or_default();
        let (least, most) = (bound(range.start()), bound(range.end()));
        self.read(table, |value| match value.time()? {
            time if (least..=most).contains(&time) => Ok(time),
            _ => Err(self.outside(range.start(), range.end())),
        })
    }

    pub(super) fn number(&self, table: &mut Table<'_, '_>) -> Option<i64> {
        let Takes::Number(range) = &self.takes else {
            unreachable!("{} takes no number", self.name);
        };
        self.read(table, |value| self.within(value, range))
    }

    pub(super) fn numbers(&self, table: &mut Table<'_, '_>) -> Vec<i64> {
        let Takes::Numbers(most, range) = &self.takes else {
            unreachable!("{} takes no numbers", self.name);
        };
        let read = self.read(table, |value| {
            value.list(*most, |value| self.within(value, range))
        });
        read.unwrap_or_default()
    }

    fn within(&self, value: &Value<'_>, range: &RangeInclusive<i64>) -> Result<i64, Wrong> {
        match value.integer()? {
            number if range.contains(&number) => Ok(number),
            _ => Err(self.outside(range.start(), range.end())),
        }
    }

    fn outside<T: std::fmt::Display>(&self, least: T, most: T) -> Wrong {
        Wrong::new(format!("{} is not within {least} to {most}", self.name))
            .with_fix(format!("write from {least} to {most}"))
    }

    pub(super) fn flag(&self, table: &mut Table<'_, '_>) -> Option<bool> {
        self.read(table, |value| value.flag())
    }

    pub(super) fn text(&self, table: &mut Table<'_, '_>) -> Option<String> {
        self.text_as(table, |text| Ok(text.to_owned()))
    }

    /// Reads a text as something else.
    pub(super) fn text_as<T>(
        &self,
        table: &mut Table<'_, '_>,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let Takes::Text(most) = &self.takes else {
            unreachable!("{} takes no text", self.name);
        };
        self.read(table, |value| parse(bounded(value.text()?, *most)?))
    }

    pub(super) fn texts(&self, table: &mut Table<'_, '_>) -> Option<Vec<String>> {
        let Takes::Texts(most) = &self.takes else {
            unreachable!("{} takes no texts", self.name);
        };
        self.read(table, |value| {
            value.list(*most, |value| {
                Ok(bounded(value.text()?, TEXT_BYTES_MAX)?.to_owned())
            })
        })
    }

    pub(super) fn choice(&self, table: &mut Table<'_, '_>) -> Option<&'static str> {
        let Takes::Choice(choices) = &self.takes else {
            unreachable!("{} takes no choice", self.name);
        };
        self.read(table, |value| {
            let text = value.text()?;
            let known = choices.iter().find(|choice| **choice == text);
            known.copied().ok_or_else(|| {
                Wrong::new(format!("{text:?} is none of what {} takes", self.name))
                    .with_fix(format!("write one of {}", choices.join(", ")))
            })
        })
    }

    fn read<'d, T>(
        &self,
        table: &mut Table<'d, '_>,
        read: impl FnOnce(&Value<'d>) -> Result<T, Wrong>,
    ) -> Option<T> {
        if matches!(self.without, Without::Refused(_)) {
            table.required(self.name, read)
        } else {
            table.optional(self.name, read)
        }
    }

    /// Gives the default of a time.
    pub(super) fn default_time(&self) -> Duration {
        let text = self.default_text().trim_matches('"');
        duration(text).unwrap_or_else(|_| unreachable!("{} has a time by default", self.name))
    }

    /// Gives the default of a number.
    pub(super) fn default_number(&self) -> i64 {
        let parsed = self.default_text().parse();
        parsed.unwrap_or_else(|_| unreachable!("{} has a number by default", self.name))
    }

    fn default_text(&self) -> &'static str {
        match self.without {
            Without::Default(text, _) => text,
            _ => unreachable!("{} has a default", self.name),
        }
    }
}

/// The longest of the texts in a list: 4 KiB, a long argument.
const TEXT_BYTES_MAX: usize = 4 * 1024;

fn bounded(text: &str, most: usize) -> Result<&str, Wrong> {
    if text.len() > most {
        return Err(Wrong::new(format!(
            "it has {} bytes, more than {most}",
            text.len()
        )));
    }
    if text.contains('\0') {
        return Err(Wrong::new("it has a NUL, which no text may have here"));
    }
    Ok(text)
}

const fn key(name: &'static str, takes: Takes, says: &'static str, without: Without) -> Key {
    Key {
        name,
        takes,
        says,
        without,
    }
}

use Takes::{Choice, Flag, Number, Numbers, Text, Texts, Time};
use Without::{Default, Nothing, Refused};

pub(super) static STORE_URL: Key = key(
    "url",
    Text(2_000),
    "where jobs and schedules are kept: `sqlite:PATH`, `postgres://…`, or `env:VARIABLE` or `file:PATH` that has it. One with a password in it is refused here",
    Default(
        "\"sqlite:steadfast.db\"",
        "one file, nothing to install; PostgreSQL when one machine is not enough",
    ),
);
pub(super) static STORE_POOLER: Key = key(
    "pooler",
    Choice(&["none", "transaction"]),
    "what stands before PostgreSQL: `transaction` for PgBouncer with `pool_mode = transaction`",
    Default("\"none\"", "most have none"),
);
pub(super) static STORE_CONNECTIONS: Key = key(
    "connections",
    Number(1..=1_000),
    "how many connections to PostgreSQL, or readers of SQLite, at most",
    Nothing("10 for PostgreSQL, 4 for SQLite", "10"),
);
pub(super) static STORE_MIGRATE: Key = key(
    "migrate",
    Flag,
    "whether missing migrations are applied when the program starts; `false` where a program under another user does so",
    Default("true", "a new version should start without further steps"),
);

pub(super) static NODE_SERVICE: Key = key(
    "service",
    Text(100),
    "what this process is called among the nodes of the store",
    Default("\"steadfast\"", "the name of the program"),
);
pub(super) static NODE_LEASE: Key = key(
    "lease",
    Time("1s"..="1h"),
    "how long others wait before they take over the jobs of a process that gives no sign; three beats",
    Default("\"30s\"", "one beat may be lost and one be slow"),
);

pub(super) static QUEUE_PERMITS: Key = key(
    "permits",
    Number(1..=10_000),
    "how many of its jobs this process runs at once",
    Default("16", "a process or a call each, so a few for every core"),
);

pub(super) static SHUTDOWN_DRAIN: Key = key(
    "drain",
    Time("0s"..="1h"),
    "how long jobs that run may go on after SIGTERM; then they are told to end and handed back",
    Default(
        "\"20s\"",
        "below the 30 s that orchestrators wait before they kill",
    ),
);
pub(super) static SHUTDOWN_NOT_READY: Key = key(
    "not_ready",
    Time("0s"..="5m"),
    "how long to go on as usual after SIGTERM while `/readyz` already says no: two polls of a load balancer",
    Default("\"0s\"", "nobody sends requests to what only runs jobs"),
);

pub(super) static LOG_FORMAT: Key = key(
    "format",
    Choice(&["text", "json"]),
    "how lines are written to standard error",
    Default("\"text\"", "people read it first"),
);
pub(super) static LOG_LEVEL: Key = key(
    "level",
    Text(1_000),
    "what is written, as `RUST_LOG` says it, which goes first where it is set: `info,steadfast::access=off`",
    Default("\"info\"", "each failure, and a line for each request"),
);

pub(super) static TLS_CERTIFICATE: Key = key(
    "tls_certificate",
    Text(2_000),
    "a file with the certificate to be served with by TLS, in PEM, and those between it and its root; read again when it changes, and on SIGHUP",
    Nothing("no TLS", "\"/etc/steadfast/tls.crt\""),
);
pub(super) static TLS_KEY: Key = key(
    "tls_key",
    Text(2_000),
    "a file with its key, in PEM, which not every user may read",
    Nothing("no TLS", "\"/etc/steadfast/tls.key\""),
);

pub(super) static HEALTH_LISTEN: Key = key(
    "listen",
    Text(100),
    "where `/livez`, `/readyz` and `/metrics` are served",
    Default(
        "\"127.0.0.1:4010\"",
        "loopback: who else may read it is your decision",
    ),
);

pub(super) static HANDLER_EXEC: Key = key(
    "exec",
    Texts(200),
    "the program to run and its arguments, without a shell; the payload is on its standard input",
    Nothing(
        "the handler has `http`",
        "[\"/usr/local/bin/backup\", \"--all\"]",
    ),
);
pub(super) static HTTP_URL: Key = key(
    "http",
    Text(2_000),
    "the URL that is called by POST, with the payload as its body",
    Refused("\"https://mail.internal/receipts\""),
);
pub(super) static HTTP_SECRET: Key = key(
    "secret",
    Text(2_000),
    "where the secret is by which calls are signed, `env:VARIABLE` or `file:PATH`: at least 32 bytes",
    Refused("\"env:MAIL_SECRET\""),
);
pub(super) static HTTP_CA: Key = key(
    "ca",
    Text(2_000),
    "a file with the certificates, in PEM, by which the service of an `https` URL is trusted, and by no others",
    Nothing("the roots of the public web", "\"/etc/steadfast/ca.pem\""),
);
pub(super) static HTTP_ANSWER_WITHIN: Key = key(
    "answer_within",
    Time("1ms"..="1h"),
    "how long the target may take to answer; work that takes longer is answered by 202, and its end is told later",
    Default("\"30s\"", "as long as proxies keep a request"),
);
pub(super) static HTTP_FAILURES: Key = key(
    "breaker",
    Number(1..=1_000_000),
    "after so many failures in a row the target is left alone for a while; jobs wait, and spend no attempts",
    Default(
        "5",
        "one that is down is not called for each job, and one failure is none",
    ),
);
pub(super) static CALLS_LISTEN: Key = key(
    "listen",
    Text(100),
    "where targets tell that long work gets on, and how it has ended",
    Nothing(
        "nowhere: an answer of 202 is a failure",
        "\"127.0.0.1:4012\"",
    ),
);
pub(super) static CALLS_URL: Key = key(
    "url",
    Text(1_000),
    "how targets reach that address of this process",
    Nothing(
        "`http://` and the address itself",
        "\"http://jobs-1.internal:4012\"",
    ),
);

pub(super) static IDS_LISTEN: Key = key(
    "listen",
    Text(100),
    "where ids are handed out, as `POST /ids/NAME`",
    Nothing("nowhere", "\"127.0.0.1:4013\""),
);
pub(super) static IDS_TOKEN: Key = key(
    "token",
    Text(2_000),
    "where the token is that has to be said as `authorization: Bearer …`, `env:VARIABLE` or `file:PATH`: at least 32 bytes",
    Nothing(
        "whoever reaches the address gets ids, so it has to be a loopback one",
        "\"env:IDS_TOKEN\"",
    ),
);
pub(super) static IDS_BEHIND_PROXY: Key = key(
    "behind_proxy",
    Flag,
    "says that a proxy with TLS is the only way to it; without it, an address that other machines reach needs a certificate",
    Default(
        "false",
        "a token that crosses the network in clear belongs to everybody",
    ),
);
pub(super) static GENERATOR_GROUP: Key = key(
    "group",
    Text(100),
    "what its ids are unique among: names of one group never make the same id",
    Default("\"default\"", "ids of all names differ"),
);
pub(super) static GENERATOR_LAYOUT: Key = key(
    "layout",
    Text(200),
    "which bits say what: `default`, `javascript` (53 bits), `many-workers`, or the parts, such as `41+10+12+0=63 1ms 1767225600000`; one for all names of a group",
    Default(
        "\"default\"",
        "four million ids a second for each of 1,024 processes until 2095",
    ),
);
pub(super) static GENERATOR_TAG: Key = key(
    "tag",
    Text(100),
    "the tag whose numbers are handed out",
    Refused("\"ticket\""),
);
pub(super) static GENERATOR_SEQUENCE: Key = key(
    "sequence",
    Text(200),
    "the sequence of PostgreSQL that gives the ranges, made with `INCREMENT BY` their size",
    Refused("\"shop.invoice_id\""),
);

pub(super) static API_LISTEN: Key = key(
    "listen",
    Text(100),
    "where the API is served, for `steadfast jobs`, `steadfast schedules` and machines with a token",
    Default(
        "\"127.0.0.1:4011\"",
        "loopback: everything can be stopped from there",
    ),
);
pub(super) static API_ENABLED: Key = key(
    "enabled",
    Flag,
    "whether there is an API",
    Default(
        "true",
        "nobody gets in without a token, and there is none until `steadfast admin token create` has made it",
    ),
);
pub(super) static API_BEHIND_PROXY: Key = key(
    "behind_proxy",
    Flag,
    "says that a proxy with TLS is the only way to it; without it, an address that other machines reach is refused",
    Default(
        "false",
        "a token that crosses the network in clear belongs to everybody",
    ),
);
pub(super) static API_READ_ONLY: Key = key(
    "read_only",
    Flag,
    "whether changes are refused, whoever asks",
    Default("false", "who may change what is said by tokens"),
);

pub(super) static HANDLER_QUEUE: Key = key(
    "queue",
    Text(100),
    "the queue of its jobs, one of `[queues.NAME]`",
    Default("\"default\"", "the queue that every process has"),
);
pub(super) static HANDLER_ATTEMPTS: Key = key(
    "attempts",
    Number(1..=1_000),
    "how many attempts a job has, the first included",
    Default("20", "with the usual backoff about a day"),
);
pub(super) static HANDLER_TIMEOUT: Key = key(
    "timeout",
    Time("1ms"..="168h"),
    "how long a run may take; then it is ended, and the attempt has failed",
    Default("\"15m\"", "what hangs holds its permit for no longer"),
);
pub(super) static HANDLER_BACKOFF: Key = key(
    "backoff",
    Time("1ms"..="24h"),
    "the wait before the second attempt; it doubles with each, with full jitter",
    Default(
        "\"1s\"",
        "most of what fails by chance is right again after it",
    ),
);
pub(super) static HANDLER_BACKOFF_MAX: Key = key(
    "backoff_max",
    Time("1ms"..="24h"),
    "the longest wait between attempts",
    Default(
        "\"1h\"",
        "what is back after a long outage is found within the hour",
    ),
);
pub(super) static HANDLER_BEAT_EVERY: Key = key(
    "beat_every",
    Time("10ms"..="24h"),
    "how often a run gives a sign of progress; without one for three times as long it is stuck, and the attempt has failed",
    Nothing("only the timeout tells what hangs", "\"30s\""),
);
pub(super) static EXEC_STOP_WITHIN: Key = key(
    "stop_within",
    Time("0s"..="2m"),
    "how long the program may take to end after SIGTERM; then it is killed, with all that it started",
    Default("\"10s\"", "as `steadfast exec` and most supervisors"),
);
pub(super) static EXEC_OUTPUT: Key = key(
    "output_bytes",
    Number(0..=49_152),
    "how much of what it writes is kept with the job: the first quarter and the latest rest",
    Default(
        "16384",
        "a few screens; the bound is what a job may have as its result",
    ),
);
pub(super) static EXEC_DIR: Key = key(
    "dir",
    Text(4_096),
    "the folder it runs in",
    Nothing(
        "the home of its `user`, or that of this program",
        "\"/var/lib/app\"",
    ),
);
pub(super) static EXEC_USER: Key = key(
    "user",
    Text(100),
    "the user it runs as, which only root can choose",
    Nothing("that of this program", "\"backup\""),
);
pub(super) static EXEC_ENV: Key = key(
    "env",
    Texts(200),
    "variables that it is given, each `NAME=VALUE`",
    Nothing(
        "its environment is clean: `PATH`, `HOME`, `LANG`, `TZ` and what steadfast says of the run",
        "[\"MODE=full\"]",
    ),
);
pub(super) static EXEC_PASS_ENV: Key = key(
    "pass_env",
    Texts(200),
    "names of variables of this program that it is given, too",
    Nothing("none beside those", "[\"DATABASE_URL\"]"),
);
pub(super) static EXEC_STDIN: Key = key(
    "stdin",
    Text(65_536),
    "what it reads from standard input instead of the payload",
    Nothing("the payload", "\"\""),
);
pub(super) static EXEC_DISCARD: Key = key(
    "discard_on",
    Numbers(50, 1..=255),
    "exit codes that say that another attempt would not help",
    Nothing("every code but 0 is tried again", "[64, 65]"),
);
pub(super) static EXEC_SNOOZE: Key = key(
    "snooze_on",
    Numbers(50, 1..=255),
    "exit codes that say that the time is not right: it is run again after `snooze_for`, and no attempt is spent",
    Nothing("none", "[75]"),
);
pub(super) static EXEC_SNOOZE_FOR: Key = key(
    "snooze_for",
    Time("1s"..="24h"),
    "how long one of those waits",
    Default("\"1m\"", "most locks and windows are free again by then"),
);

pub(super) static SCHEDULE_RULE: Key = key(
    "rule",
    Text(1_000),
    "when: `30 2 * * *`, `@daily`, `every 15m`, `after 10m`, `at 2026-12-01T10:00`",
    Refused("\"30 2 * * *\""),
);
pub(super) static SCHEDULE_ZONE: Key = key(
    "zone",
    Text(100),
    "the time zone of the rule",
    Default("\"UTC\"", "the one zone without gaps; say your own"),
);
pub(super) static SCHEDULE_HANDLER: Key = key(
    "handler",
    Text(64),
    "which of `[handlers.NAME]` does the work",
    Nothing("the one of the same name", "\"backup\""),
);
pub(super) static SCHEDULE_PAYLOAD: Key = key(
    "payload",
    Text(65_536),
    "what the work is about, as JSON",
    Default("\"null\"", "many need nothing but the time"),
);
pub(super) static SCHEDULE_MISSED: Key = key(
    "missed",
    Text(100),
    "what becomes of occurrences that no node saw in time: `skip`, `run_once`, `run_all(24h)`",
    Nothing(
        "`run_once`: better late than never, and only the last",
        "\"run_once\"",
    ),
);
pub(super) static SCHEDULE_OVERLAP: Key = key(
    "overlap",
    Text(100),
    "what becomes of an occurrence while a run is not over: `allow`, `skip`, `queue_one`, `cancel_other`",
    Nothing(
        "`skip`: two nightly runs over the same data are nobody's plan",
        "\"skip\"",
    ),
);
pub(super) static SCHEDULE_JITTER: Key = key(
    "jitter",
    Time("0s"..="9600h"),
    "by how much a start is put off at most, so that not all start in one second",
    Default("\"0s\"", "people expect it at the minute"),
);
pub(super) static SCHEDULE_DEADLINE: Key = key(
    "start_deadline",
    Time("1s"..="9600h"),
    "how long after its time a run may still begin",
    Nothing("however late", "\"1h\""),
);
pub(super) static SCHEDULE_PRIORITY: Key = key(
    "priority",
    Number(-100..=100),
    "who is claimed sooner; one step is worth a minute of waiting",
    Default("0", "as everybody"),
);

/// All tables, in the order in which they are shown.
pub(super) static SECTIONS: &[Section] = &[
    Section {
        name: "store",
        what: "Where jobs and schedules are kept.",
        example: "",
        keys: &[
            &STORE_URL,
            &STORE_POOLER,
            &STORE_CONNECTIONS,
            &STORE_MIGRATE,
        ],
    },
    Section {
        name: "node",
        what: "What this process is among those that share the store.",
        example: "",
        keys: &[&NODE_SERVICE, &NODE_LEASE],
    },
    Section {
        name: "queues.NAME",
        what: "How much of a queue runs here. The queue `default` is there without being named.",
        example: "queues.default",
        keys: &[&QUEUE_PERMITS],
    },
    Section {
        name: "shutdown",
        what: "How the program ends.",
        example: "",
        keys: &[&SHUTDOWN_DRAIN, &SHUTDOWN_NOT_READY],
    },
    Section {
        name: "log",
        what: "What the program says.",
        example: "",
        keys: &[&LOG_FORMAT, &LOG_LEVEL],
    },
    Section {
        name: "health",
        what: "Whether it is alive and ready, and its numbers for a Prometheus.",
        example: "",
        keys: &[&HEALTH_LISTEN],
    },
    Section {
        name: "api",
        what: "What people and machines can see and do.",
        example: "",
        keys: &[
            &API_ENABLED,
            &API_LISTEN,
            &TLS_CERTIFICATE,
            &TLS_KEY,
            &API_BEHIND_PROXY,
            &API_READ_ONLY,
        ],
    },
    Section {
        name: "calls",
        what: "Where services tell the end of work that takes longer than an answer. Each word is signed by the secret of its handler and carries the term of the run.",
        example: "",
        keys: &[&CALLS_LISTEN, &CALLS_URL, &TLS_CERTIFICATE, &TLS_KEY],
    },
    Section {
        name: "ids",
        what: "Where ids are handed out; what they are is said by `[generators.NAME]`. The guide is `docs/guide/run-the-id-service.md`.",
        example: "",
        keys: &[
            &IDS_LISTEN,
            &IDS_TOKEN,
            &TLS_CERTIFICATE,
            &TLS_KEY,
            &IDS_BEHIND_PROXY,
        ],
    },
    Section {
        name: "generators.NAME",
        what: "What makes the ids of a name: a snowflake, whose worker id is leased in the store.",
        example: "generators.order",
        keys: &[&GENERATOR_GROUP, &GENERATOR_LAYOUT],
    },
    Section {
        name: "generators.NAME",
        what: "With `tag`, they are dense numbers, of ranges that the store hands out.",
        example: "generators.ticket",
        keys: &[&GENERATOR_TAG],
    },
    Section {
        name: "generators.NAME",
        what: "With `sequence`, they are dense numbers of a sequence of PostgreSQL.",
        example: "generators.invoice",
        keys: &[&GENERATOR_SEQUENCE],
    },
    Section {
        name: "handlers.NAME",
        what: "What does the work of a job: a program, or a service that is called. Its name is the kind of its jobs.",
        example: "handlers.backup",
        keys: &[
            &HANDLER_EXEC,
            &HANDLER_QUEUE,
            &HANDLER_ATTEMPTS,
            &HANDLER_TIMEOUT,
            &HANDLER_BACKOFF,
            &HANDLER_BACKOFF_MAX,
            &HANDLER_BEAT_EVERY,
            &EXEC_STOP_WITHIN,
            &EXEC_OUTPUT,
            &EXEC_DIR,
            &EXEC_USER,
            &EXEC_ENV,
            &EXEC_PASS_ENV,
            &EXEC_STDIN,
            &EXEC_DISCARD,
            &EXEC_SNOOZE,
            &EXEC_SNOOZE_FOR,
        ],
    },
    Section {
        name: "handlers.NAME",
        what: "A handler that calls a service has these in place of `exec` and what belongs to a program (`stop_within` and below); `queue` to `beat_every` are the same.",
        example: "handlers.receipt",
        keys: &[
            &HTTP_URL,
            &HTTP_SECRET,
            &HTTP_CA,
            &HTTP_ANSWER_WITHIN,
            &HTTP_FAILURES,
        ],
    },
    Section {
        name: "schedules.NAME",
        what: "When a job is due. Schedules are added or changed when the program starts; one that is taken out of the file stays in the store until `steadfast schedules delete`.",
        example: "schedules.backup",
        keys: &[
            &SCHEDULE_RULE,
            &SCHEDULE_ZONE,
            &SCHEDULE_HANDLER,
            &SCHEDULE_PAYLOAD,
            &SCHEDULE_MISSED,
            &SCHEDULE_OVERLAP,
            &SCHEDULE_JITTER,
            &SCHEDULE_DEADLINE,
            &SCHEDULE_PRIORITY,
        ],
    },
];
