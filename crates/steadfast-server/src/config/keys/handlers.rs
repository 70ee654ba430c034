//! What does the work of a job.

use super::Section;
use super::key::Takes::{Number, Numbers, Text, Texts, Time};
use super::key::Without::{Default, Nothing, Refused};
use super::key::{Key, key};

pub(super) static PROGRAMS: Section = Section {
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
};

pub(super) static SERVICES: Section = Section {
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
};

pub(in crate::config) static HANDLER_EXEC: Key = key(
    "exec",
    Texts(200),
    "the program to run and its arguments, without a shell; the payload is on its standard input",
    Nothing(
        "the handler has `http`",
        "[\"/usr/local/bin/backup\", \"--all\"]",
    ),
);

pub(in crate::config) static HTTP_URL: Key = key(
    "http",
    Text(2_000),
    "the URL that is called by POST, with the payload as its body",
    Refused("\"https://mail.internal/receipts\""),
);

pub(in crate::config) static HTTP_SECRET: Key = key(
    "secret",
    Text(2_000),
    "where the secret is by which calls are signed, `env:VARIABLE` or `file:PATH`: at least 32 bytes",
    Refused("\"env:MAIL_SECRET\""),
);

pub(in crate::config) static HTTP_CA: Key = key(
    "ca",
    Text(2_000),
    "a file with the certificates, in PEM, by which the service of an `https` URL is trusted, and by no others; a relative one begins in the folder of this file",
    Nothing("the roots of the public web", "\"/etc/steadfast/ca.pem\""),
);

pub(in crate::config) static HTTP_ANSWER_WITHIN: Key = key(
    "answer_within",
    Time("1ms"..="1h"),
    "how long the target may take to answer; work that takes longer is answered by 202, and its end is told later",
    Default("\"30s\"", "as long as proxies keep a request"),
);

pub(in crate::config) static HTTP_FAILURES: Key = key(
    "breaker",
    Number(1..=1_000_000),
    "after so many failures in a row the target is left alone for a while; jobs wait, and spend no attempts",
    Default(
        "5",
        "one that is down is not called for each job, and one failure is none",
    ),
);

pub(in crate::config) static HANDLER_QUEUE: Key = key(
    "queue",
    Text(100),
    "the queue of its jobs, one of `[queues.NAME]`",
    Default("\"default\"", "the queue that every process has"),
);

pub(in crate::config) static HANDLER_ATTEMPTS: Key = key(
    "attempts",
    Number(1..=1_000),
    "how many attempts a job has, the first included",
    Default("20", "with the usual backoff about a day"),
);

pub(in crate::config) static HANDLER_TIMEOUT: Key = key(
    "timeout",
    Time("1ms"..="168h"),
    "how long a run may take; then it is ended, and the attempt has failed",
    Default("\"15m\"", "what hangs holds its permit for no longer"),
);

pub(in crate::config) static HANDLER_BACKOFF: Key = key(
    "backoff",
    Time("1ms"..="24h"),
    "the wait before the second attempt; it doubles with each, with full jitter",
    Default(
        "\"1s\"",
        "most of what fails by chance is right again after it",
    ),
);

pub(in crate::config) static HANDLER_BACKOFF_MAX: Key = key(
    "backoff_max",
    Time("1ms"..="24h"),
    "the longest wait between attempts",
    Default(
        "\"1h\"",
        "what is back after a long outage is found within the hour",
    ),
);

pub(in crate::config) static HANDLER_BEAT_EVERY: Key = key(
    "beat_every",
    Time("10ms"..="24h"),
    "how often a run gives a sign of progress; without one for three times as long it is stuck, and the attempt has failed",
    Nothing("only the timeout tells what hangs", "\"30s\""),
);

pub(in crate::config) static EXEC_STOP_WITHIN: Key = key(
    "stop_within",
    Time("0s"..="2m"),
    "how long the program may take to end after SIGTERM; then it is killed, with all that it started",
    Default("\"10s\"", "as `steadfast exec` and most supervisors"),
);

pub(in crate::config) static EXEC_OUTPUT: Key = key(
    "output_bytes",
    Number(0..=49_152),
    "how much of what it writes is kept with the job: the first quarter and the latest rest; of a run that fails 3 KiB at most, with its error",
    Default(
        "16384",
        "a few screens; the bound is what a job may have as its result",
    ),
);

pub(in crate::config) static EXEC_DIR: Key = key(
    "dir",
    Text(4_096),
    "the folder it runs in; a relative one begins in the folder of this file",
    Nothing(
        "the home of its `user`, or that of this program",
        "\"/var/lib/app\"",
    ),
);

pub(in crate::config) static EXEC_USER: Key = key(
    "user",
    Text(100),
    "the user it runs as, which only root can choose",
    Nothing("that of this program", "\"backup\""),
);

pub(in crate::config) static EXEC_ENV: Key = key(
    "env",
    Texts(200),
    "variables that it is given, each `NAME=VALUE`",
    Nothing(
        "its environment is clean: `PATH`, `HOME`, `LANG`, `TZ` and what steadfast says of the run",
        "[\"MODE=full\"]",
    ),
);

pub(in crate::config) static EXEC_PASS_ENV: Key = key(
    "pass_env",
    Texts(200),
    "names of variables of this program that it is given, too",
    Nothing("none beside those", "[\"DATABASE_URL\"]"),
);

pub(in crate::config) static EXEC_STDIN: Key = key(
    "stdin",
    Text(65_536),
    "what it reads from standard input instead of the payload",
    Nothing("the payload", "\"\""),
);

pub(in crate::config) static EXEC_DISCARD: Key = key(
    "discard_on",
    Numbers(50, 1..=255),
    "exit codes that say that another attempt would not help",
    Nothing("every code but 0 is tried again", "[64, 65]"),
);

pub(in crate::config) static EXEC_SNOOZE: Key = key(
    "snooze_on",
    Numbers(50, 1..=255),
    "exit codes that say that the time is not right: it is run again after `snooze_for`, and no attempt is spent",
    Nothing("none", "[75]"),
);

pub(in crate::config) static EXEC_SNOOZE_FOR: Key = key(
    "snooze_for",
    Time("1s"..="24h"),
    "how long one of those waits",
    Default("\"1m\"", "most locks and windows are free again by then"),
);
