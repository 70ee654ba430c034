//! Five times the load: core as if nothing had happened, and everybody else told why not.

use super::samples::{percent, quantile};
use super::{Needed, Row, Sample, Unit};

/// Five times the load, and what the usual one was like.
#[derive(Debug, Default)]
pub(crate) struct Overload {
    pub(crate) samples: Vec<Sample>,
    /// The 99th percentile of core under the usual load, in milliseconds.
    pub(crate) calm_core_p99_ms: Option<f64>,
}

impl Overload {
    pub(crate) fn judge(&self) -> Vec<Row> {
        let core = || self.samples.iter().filter(|sample| sample.core);
        let not_served = || {
            self.samples
                .iter()
                .filter(|sample| !sample.core && !sample.is_served())
        };
        let rejected = not_served().filter(|sample| sample.is_rejected());
        let p99 = quantile(core(), 0.99).zip(self.calm_core_p99_ms);
        vec![
            Row::new(
                "core served",
                Needed::AtLeast(99.5),
                Unit::Percent,
                percent(core(), Sample::is_served),
            ),
            Row::new(
                "core p99, by that of the usual load",
                Needed::AtMost(2.0),
                Unit::Times,
                p99.map(|(now, calm)| now / calm),
            ),
            Row::new(
                "others rejected within, p99",
                Needed::AtMost(5.0),
                Unit::Milliseconds,
                quantile(rejected, 0.99),
            ),
            Row::new(
                "others not served who are told why and when to come",
                Needed::AtLeast(100.0),
                Unit::Percent,
                percent(not_served(), Sample::is_told),
            ),
        ]
    }
}
