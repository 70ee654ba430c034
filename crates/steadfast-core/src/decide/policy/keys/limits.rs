//! What holds requests back: how many at once, how long, how much over time.

use super::words::{COUNT, FLAG, LEARNED_TIME, SHADOW, SHARE, TIME, default, key};
use super::{Absent, Section};

pub(super) const ADMISSIONS: Section = Section {
    name: "admissions",
    what: "How many requests run at once, how many wait, and who goes first.",
    names: Some("what routes and dependencies call it"),
    keys: &[
        key(
            "permits",
            "number, 1 to 1000000, or `\"learn\"`",
            "how many run at once",
            Absent::Refused,
        ),
        key(
            "permits_floor",
            COUNT,
            "never fewer when learned",
            Absent::RefusedIfLearned,
        ),
        key(
            "permits_ceiling",
            COUNT,
            "never more when learned",
            Absent::RefusedIfLearned,
        ),
        key(
            "queue",
            COUNT,
            "how many wait at most",
            default(
                "100",
                "rides out a burst of a tenth of a second at 1000 requests a second, and the last one still has a chance",
            ),
        ),
        key(
            "queue_wait",
            TIME,
            "how long one waits at most",
            Absent::Refused,
        ),
        key(
            "guaranteed_TIER",
            SHARE,
            "the part of the permits that is kept for a tier (`guaranteed_core`, `guaranteed_tier1` to `guaranteed_tier7`) when all want more than there is; what it does not use is lent",
            Absent::Nothing("no guarantee: importance alone decides"),
        ),
        SHADOW,
    ],
};

pub(super) const TIMEOUTS: Section = Section {
    name: "timeouts",
    what: "How long something may take until its answer begins, and its body after that.",
    names: Some("what routes and dependencies call it"),
    keys: &[
        key(
            "timeout",
            LEARNED_TIME,
            "how long until the answer begins",
            Absent::Refused,
        ),
        key(
            "timeout_floor",
            TIME,
            "never shorter when learned",
            Absent::RefusedIfLearned,
        ),
        key(
            "timeout_ceiling",
            TIME,
            "never longer when learned",
            Absent::RefusedIfLearned,
        ),
        key(
            "permit_share",
            SHARE,
            "when learned: the part of the permits that may wait for this one thing",
            default(
                "0.5",
                "one thing that stalls leaves as much to all others as it takes",
            ),
        ),
        key(
            "timeout_start",
            TIME,
            "when learned: what it starts from, between floor and ceiling",
            Absent::NothingIfLearned("the ceiling, until a hundred calls are known"),
        ),
        key(
            "timeout_start_query",
            "PromQL, 1 to 1024 bytes; `$route` and `$method` stand for those of a route, `$dependency` and `$method` for those of a dependency",
            "when learned: what Prometheus is asked for a timeout to start from, in seconds; without a usable answer `timeout_start` holds",
            Absent::NothingIfLearned("nobody is asked"),
        ),
        key(
            "body_idle",
            TIME,
            "how long a body may stand still",
            default(
                "\"30s\"",
                "nothing healthy stands still in the middle of an answer for that long",
            ),
        ),
        key(
            "body_total",
            TIME,
            "how long a body may take in all",
            Absent::Nothing("as long as it moves"),
        ),
        SHADOW,
    ],
};

pub(super) const RATES: Section = Section {
    name: "rates",
    what: "How much may come over time.",
    names: Some("what the `quota` of a route calls it"),
    keys: &[
        key("requests", COUNT, "how many in a period", Absent::Refused),
        key(
            "period",
            TIME,
            "the length of time for which `requests` are meant",
            Absent::Refused,
        ),
        key("burst", COUNT, "how many at once", Absent::Refused),
        key(
            "per_client",
            FLAG,
            "whether each client has this quota, or all share it",
            default(
                "false",
                "who is a client depends on what stands in front; see `[trust]`",
            ),
        ),
        SHADOW,
    ],
};

pub(super) const STREAMS: Section = Section {
    name: "streams",
    what: "How many answers may be under way that do not end by themselves, and how long each.",
    names: Some("what the `stream` of a route calls it"),
    keys: &[
        key("connections", COUNT, "the most at once", Absent::Refused),
        key(
            "idle",
            TIME,
            "how long one may stand still: longer than its heartbeat",
            Absent::Refused,
        ),
        key(
            "total",
            TIME,
            "how long one may take in all",
            Absent::Nothing("as long as it moves"),
        ),
        SHADOW,
    ],
};
