//! What stands around calls of somebody else: when to stop, to try again, to ask twice.

use super::words::{COUNT, FLAG, LEARNED_TIME, SHADOW, SHARE, TIME, default, key};
use super::{Absent, Section};

pub(super) const BREAKERS: Section = Section {
    name: "breakers",
    what: "When to stop calling something that does not work. At least one of `failure_share`, `slow_over` and `consecutive` is needed.",
    names: Some("what dependencies call it"),
    keys: &[
        key(
            "failure_share",
            SHARE,
            "trips when this part of a window fails",
            Absent::Nothing("does not trip by it"),
        ),
        key(
            "slow_over",
            TIME,
            "a call that takes longer is slow",
            Absent::Nothing("no call is slow"),
        ),
        key(
            "slow_share",
            SHARE,
            "trips when this part of a window is slow; needed with `slow_over`",
            Absent::Nothing("does not trip by it"),
        ),
        key(
            "consecutive",
            COUNT,
            "trips after so many failures in a row",
            Absent::Nothing("does not trip by it"),
        ),
        key(
            "min_calls",
            COUNT,
            "how many calls a window needs before its shares mean anything",
            default(
                "20",
                "below, a single failure is more than 5 % and chance looks like an outage",
            ),
        ),
        key(
            "window",
            TIME,
            "how far back it looks",
            default(
                "\"10s\"",
                "`min_calls` come together at two a second, and an outage shows within seconds",
            ),
        ),
        key(
            "half_open",
            COUNT,
            "how many calls probe a target in a round of half-open",
            default("10", "tells one failure in ten from a target that is down"),
        ),
        key(
            "open",
            TIME,
            "how long it stays open the first time; twice as long with each round that fails",
            default("\"5s\"", "a process that is started again is back by then"),
        ),
        key(
            "open_longest",
            TIME,
            "the longest it stays open",
            default(
                "\"60s\"",
                "what is back after a long outage is found within a minute",
            ),
        ),
        key(
            "ramp",
            TIME,
            "how long it takes from the probes to all calls once it has recovered",
            default(
                "\"10s\"",
                "caches and pools of a target that has just come back fill first",
            ),
        ),
        SHADOW,
    ],
};

pub(super) const RETRIES: Section = Section {
    name: "retries",
    what: "How often to try again, and who pays.",
    names: Some("what dependencies call it"),
    keys: &[
        key(
            "attempts",
            "number, 1 to 10",
            "the most attempts, the first included",
            Absent::Refused,
        ),
        key(
            "budget",
            SHARE,
            "the part of the calls that may be retries",
            Absent::Nothing("unbounded, which the linter refuses (P011)"),
        ),
        key(
            "first_wait",
            TIME,
            "the ceiling of the wait before the first retry; it doubles with each",
            default(
                "\"50ms\"",
                "longer than most of what fails by chance needs to be right again, and not noticed by people",
            ),
        ),
        key(
            "longest_wait",
            TIME,
            "the greatest ceiling of a wait",
            default("\"1s\"", "a caller that waits for longer is better told"),
        ),
        key(
            "unsafe_methods",
            FLAG,
            "whether calls that are not known to be safe to repeat are repeated, too",
            default(
                "false",
                "an order that is placed twice is worse than one that failed",
            ),
        ),
    ],
};

pub(super) const HEDGES: Section = Section {
    name: "hedges",
    what: "When to send a second attempt beside one that takes long.",
    names: Some("what dependencies call it"),
    keys: &[
        key(
            "delay",
            LEARNED_TIME,
            "after which time; learned, it follows the live 95th percentile",
            Absent::Refused,
        ),
        key(
            "delay_floor",
            TIME,
            "never shorter when learned",
            Absent::RefusedIfLearned,
        ),
        key(
            "delay_ceiling",
            TIME,
            "never longer when learned",
            Absent::RefusedIfLearned,
        ),
        key(
            "budget",
            SHARE,
            "the part of the calls that may be hedged",
            Absent::Nothing("unbounded, which the linter refuses (P010)"),
        ),
    ],
};
