//! The words that sections are described with.

use super::{Absent, Key};

pub(super) const TIME: &str = "length of time, 1ms to 1h";
pub(super) const LEARNED_TIME: &str = "length of time, 1ms to 1h, or `\"learn\"`";
pub(super) const COUNT: &str = "number, 1 to 1000000";
pub(super) const SHARE: &str = "share, 0 to 1, or percent";
pub(super) const FLAG: &str = "true or false";
pub(super) const METHODS: &str = "list of methods, in capitals, at most 16";

pub(super) const fn key(
    name: &'static str,
    takes: &'static str,
    what: &'static str,
    absent: Absent,
) -> Key {
    Key {
        name,
        what,
        takes,
        absent,
    }
}

pub(super) const fn default(value: &'static str, reason: &'static str) -> Absent {
    Absent::Default { value, reason }
}

pub(super) const SHADOW: Key = key(
    "shadow",
    FLAG,
    "whether it only says what it would have rejected",
    default("false", "what is written down is meant to act"),
);
