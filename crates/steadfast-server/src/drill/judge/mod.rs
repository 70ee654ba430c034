//! From what was seen to a verdict. Nothing here asks, waits or measures: facts in, rows out, so that
//! each criterion is tried with facts that miss it.
//!
//! A criterion that could not be measured is missed: a drill that saw nothing proves nothing.

mod calm;
mod drain;
mod gateway;
mod giving_up;
mod overload;
mod panics;
mod progress;
mod retries;
mod samples;
#[cfg(test)]
mod tests;
mod work;

pub(super) use calm::{Calm, Drift};
pub(super) use drain::Drain;
pub(super) use gateway::Gateway;
pub(super) use giving_up::GivingUp;
pub(super) use overload::Overload;
pub(super) use panics::{Panics, PanicsWithin};
pub(super) use progress::Progress;
pub(super) use retries::Retries;
pub(super) use samples::{Outcome, Sample};
pub(super) use work::{Audit, Frozen, Killed};

use std::fmt;

/// What a figure has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Needed {
    AtLeast(f64),
    AtMost(f64),
}

/// In what it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Percent,
    Seconds,
    Milliseconds,
    /// Times another figure.
    Times,
    Count,
    Cents,
}

/// One criterion, and how it went.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// What is asked for, in words.
    pub(crate) name: &'static str,
    pub(crate) needed: Needed,
    pub(crate) unit: Unit,
    /// What was seen; `None` when it could not be measured.
    pub(crate) measured: Option<f64>,
}

impl Row {
    fn new(name: &'static str, needed: Needed, unit: Unit, measured: Option<f64>) -> Self {
        let measured = measured.filter(|value| value.is_finite());
        Self {
            name,
            needed,
            unit,
            measured,
        }
    }

    /// Tells whether it is met.
    pub(crate) fn is_met(&self) -> bool {
        self.measured.is_some_and(|measured| match self.needed {
            Needed::AtLeast(least) => measured >= least,
            Needed::AtMost(most) => measured <= most,
        })
    }
}

impl Unit {
    /// The word for machines.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Unit::Percent => "percent",
            Unit::Seconds => "seconds",
            Unit::Milliseconds => "milliseconds",
            Unit::Times => "times",
            Unit::Count => "count",
            Unit::Cents => "cents",
        }
    }

    /// Writes a figure for people: with as many digits as decide, and never rounded to where it meets
    /// what it does not.
    pub(crate) fn write(self, value: f64) -> String {
        match self {
            Unit::Percent => format!("{:.2} %", (value * 100.0).floor() / 100.0),
            Unit::Seconds => format!("{:.2} s", (value * 100.0).ceil() / 100.0),
            Unit::Milliseconds => format!("{:.1} ms", (value * 10.0).ceil() / 10.0),
            Unit::Times => format!("{:.2} ×", (value * 100.0).ceil() / 100.0),
            Unit::Count => format!("{value:.0}"),
            Unit::Cents => format!("{value:.0} ¢"),
        }
    }

    /// The same of a bound, which is a round number.
    pub(crate) fn write_bound(self, value: f64) -> String {
        match self {
            Unit::Percent => format!("{value} %"),
            Unit::Seconds => format!("{value} s"),
            Unit::Milliseconds => format!("{value} ms"),
            Unit::Times => format!("{value} ×"),
            Unit::Count => format!("{value}"),
            Unit::Cents => format!("{value} ¢"),
        }
    }
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Needed::AtLeast(_) => f.write_str("≥"),
            Needed::AtMost(_) => f.write_str("≤"),
        }
    }
}

impl Needed {
    pub(crate) fn bound(self) -> f64 {
        match self {
            Needed::AtLeast(bound) | Needed::AtMost(bound) => bound,
        }
    }
}
