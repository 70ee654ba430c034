//! A gateway that fails half of the time, and clients that try again: nobody makes it worse.

use std::time::Duration;

use super::samples::percent;
use super::{Needed, Row, Sample, Unit};

/// The gateway fails half of the time while clients try up to four times.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    pub(crate) samples: Vec<Sample>,
    /// When the fault ended, from the start of the load.
    pub(crate) ended: Option<Duration>,
    /// What the gateway was asked while it failed, by what it is asked in the same time when all is well.
    pub(crate) amplified: Option<f64>,
}

/// How long the shop has to be as before once the gateway is: as long as a breaker may stay open.
const BACK_WITHIN: Duration = Duration::from_secs(5);

impl Retries {
    pub(crate) fn judge(&self) -> Vec<Row> {
        let after = self.samples.iter().filter(|it| {
            self.ended
                .is_some_and(|ended| it.core && it.due >= ended + BACK_WITHIN)
        });
        let others = self.samples.iter().filter(|it| !it.core);
        let least = Needed::AtLeast(99.5);
        vec![
            Row::new(
                "calls of the gateway, by those when it is well",
                Needed::AtMost(1.5),
                Unit::Times,
                self.amplified,
            ),
            Row::new(
                "requests without the gateway served",
                least,
                Unit::Percent,
                percent(others, Sample::is_served),
            ),
            Row::new(
                "core served from 5 s after it",
                least,
                Unit::Percent,
                percent(after, Sample::is_served),
            ),
        ]
    }
}
