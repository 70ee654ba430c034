//! A run that hangs and one that is slow look alike from outside. What tells them apart is a sign of
//! progress: the one is ended, the other is left alone.

use super::{Needed, Row, Unit};

/// One run hangs, and another is slow and gets on.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// After how many seconds the run that hangs was ended.
    pub(crate) ended_s: Option<f64>,
    /// Attempts that the slow one took; none if it did not end well.
    pub(crate) slow_attempts: Option<u64>,
    /// How long the slow one ran, in seconds.
    pub(crate) slow_took_s: Option<f64>,
    /// Whether the one that hung was done once nothing held it up.
    pub(crate) done_after: Option<bool>,
}

impl Progress {
    pub(crate) fn judge(&self) -> Vec<Row> {
        let undone = self.done_after.map(|done| f64::from(u8::from(!done)));
        vec![
            Row::new(
                "run without progress ended after",
                Needed::AtMost(10.0),
                Unit::Seconds,
                self.ended_s,
            ),
            Row::new(
                "attempts of the slow one, which gets on",
                Needed::AtMost(1.0),
                Unit::Count,
                self.slow_attempts.map(|attempts| attempts as f64),
            ),
            // Otherwise it was not slow, and proves nothing.
            Row::new(
                "how long the slow one ran",
                Needed::AtLeast(5.0),
                Unit::Seconds,
                self.slow_took_s,
            ),
            Row::new(
                "jobs undone at the end",
                Needed::AtMost(0.0),
                Unit::Count,
                undone,
            ),
        ]
    }
}
