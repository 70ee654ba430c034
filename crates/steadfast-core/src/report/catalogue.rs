//! What a part says about its metrics and its events, once: the text for Prometheus, the reference
//! and the tests read it here.
//!
//! Every part keeps its tables beside the code that tells: `METRICS`, which its
//! [`Source`](super::Source) gives in [`describe`](super::Source::describe), and `EVENTS`. A rule of
//! the repository compares both with the sources: what is told without being described, or described
//! without being told, fails.

use std::fmt;

/// One metric: what is told under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricDoc {
    /// The name, in the style of Prometheus, with its unit last.
    pub name: &'static str,
    /// How its values behave.
    pub kind: MetricKind,
    /// The names of its labels, in the order in which they are told.
    pub labels: &'static [&'static str],
    /// What it means, in one sentence without a line break.
    pub help: &'static str,
}

/// How the values of a metric behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetricKind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down; or 1 while something is in force, and 0 while it is not.
    Gauge,
    /// Counts values by their size; only grows while the process lives.
    Histogram,
}

/// One event of `tracing`: what is told, when, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventDoc {
    /// The target, `steadfast::` and the part.
    pub target: &'static str,
    /// The levels at which it comes.
    pub levels: &'static [&'static str],
    /// The message, with `{}` for what differs each time.
    pub message: &'static str,
    /// The names of its fields, the message apart, in alphabetical order.
    pub fields: &'static [&'static str],
    /// When it comes.
    pub when: &'static str,
    /// What to do.
    pub action: &'static str,
}

// === impl MetricDoc ===

impl MetricDoc {
    /// Describes a number that only grows while the process lives.
    pub const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self::new(name, MetricKind::Counter, labels, help)
    }

    /// Describes a number that goes up and down, or whether something is in force.
    pub const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self::new(name, MetricKind::Gauge, labels, help)
    }

    /// Describes values that are counted by their size.
    pub const fn histogram(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self::new(name, MetricKind::Histogram, labels, help)
    }

    const fn new(
        name: &'static str,
        kind: MetricKind,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            labels,
            help,
        }
    }

    /// Gives the unit, as the name says it.
    pub fn unit(&self) -> &'static str {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        ["seconds", "bytes", "per_second"]
            .into_iter()
            .rev()
            .find(|unit| name.ends_with(unit))
            .map_or("1", |unit| if unit == "per_second" { "1/s" } else { unit })
    }
}

impl MetricKind {
    /// Gives the word of the `TYPE` line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl EventDoc ===

impl EventDoc {
    /// Describes an event.
    pub const fn new(
        target: &'static str,
        levels: &'static [&'static str],
        message: &'static str,
        fields: &'static [&'static str],
    ) -> Self {
        Self {
            target,
            levels,
            message,
            fields,
            when: "",
            action: "",
        }
    }

    /// Says when it comes.
    #[must_use]
    pub const fn when(self, when: &'static str) -> Self {
        Self { when, ..self }
    }

    /// Says what to do.
    #[must_use]
    pub const fn action(self, action: &'static str) -> Self {
        Self { action, ..self }
    }
}

/// Gives every metric that this package tells.
pub fn metrics() -> impl Iterator<Item = &'static MetricDoc> {
    [
        super::kernel::METRICS,
        super::prometheus::METRICS,
        crate::batch::METRICS,
        crate::pool::METRICS,
        crate::shutdown::METRICS,
        crate::supervise::METRICS,
        crate::watch::METRICS,
    ]
    .into_iter()
    .flatten()
}

/// Gives every event that this package tells.
pub fn events() -> impl Iterator<Item = &'static EventDoc> {
    [
        crate::panic::EVENTS,
        crate::batch::EVENTS,
        crate::pool::EVENTS,
        crate::reaper::EVENTS,
        crate::scope::EVENTS,
        crate::shutdown::EVENTS,
        crate::supervise::EVENTS,
        crate::task::EVENTS,
        crate::watch::EVENTS,
    ]
    .into_iter()
    .flatten()
}
