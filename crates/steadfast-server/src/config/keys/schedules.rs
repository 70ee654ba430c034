//! When a job is due.

use super::Section;
use super::key::Takes::{Number, Text, Time};
use super::key::Without::{Default, Nothing, Refused};
use super::key::{Key, key};

pub(super) static SCHEDULES: Section = Section {
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
};

pub(in crate::config) static SCHEDULE_RULE: Key = key(
    "rule",
    Text(1_000),
    "when: `30 2 * * *`, `@daily`, `every 15m`, `after 10m`, `at 2026-12-01T10:00`",
    Refused("\"30 2 * * *\""),
);

pub(in crate::config) static SCHEDULE_ZONE: Key = key(
    "zone",
    Text(100),
    "the time zone of the rule",
    Default("\"UTC\"", "the one zone without gaps; say your own"),
);

pub(in crate::config) static SCHEDULE_HANDLER: Key = key(
    "handler",
    Text(64),
    "which of `[handlers.NAME]` does the work",
    Nothing("the one of the same name", "\"backup\""),
);

pub(in crate::config) static SCHEDULE_PAYLOAD: Key = key(
    "payload",
    Text(65_536),
    "what the work is about, as JSON",
    Default("\"null\"", "many need nothing but the time"),
);

pub(in crate::config) static SCHEDULE_MISSED: Key = key(
    "missed",
    Text(100),
    "what becomes of occurrences that no node saw in time: `skip`, `run_once`, `run_all(24h)`",
    Nothing(
        "`run_once`: better late than never, and only the last",
        "\"run_once\"",
    ),
);

pub(in crate::config) static SCHEDULE_OVERLAP: Key = key(
    "overlap",
    Text(100),
    "what becomes of an occurrence while a run is not over: `allow`, `skip`, `queue_one`, `cancel_other`",
    Nothing(
        "`skip`: two nightly runs over the same data are nobody's plan",
        "\"skip\"",
    ),
);

pub(in crate::config) static SCHEDULE_JITTER: Key = key(
    "jitter",
    Time("0s"..="9600h"),
    "by how much a start is put off at most, so that not all start in one second",
    Default("\"0s\"", "people expect it at the minute"),
);

pub(in crate::config) static SCHEDULE_DEADLINE: Key = key(
    "start_deadline",
    Time("1s"..="9600h"),
    "how long after its time a run may still begin",
    Nothing("however late", "\"1h\""),
);

pub(in crate::config) static SCHEDULE_PRIORITY: Key = key(
    "priority",
    Number(-100..=100),
    "who is claimed sooner; one step is worth a minute of waiting",
    Default("0", "as everybody"),
);
