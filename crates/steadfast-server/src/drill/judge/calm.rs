//! A shop that nothing happens to, which all else is compared with; and one whose gateway grows slow.

use super::samples::{percent, quantile};
use super::{Needed, Row, Sample, Unit};

/// The usual load.
#[derive(Debug, Default)]
pub(crate) struct Calm {
    pub(crate) samples: Vec<Sample>,
}

impl Calm {
    pub(crate) fn judge(&self) -> Vec<Row> {
        let served = percent(self.samples.iter(), Sample::is_served);
        vec![Row::new(
            "requests served",
            Needed::AtLeast(99.5),
            Unit::Percent,
            served,
        )]
    }

    /// The 99th percentile of core, in milliseconds.
    pub(crate) fn core_p99_ms(&self) -> Option<f64> {
        quantile(self.samples.iter().filter(|sample| sample.core), 0.99)
    }
}

/// The gateway takes longer and longer, within what is waited for.
#[derive(Debug, Default)]
pub(crate) struct Drift {
    pub(crate) samples: Vec<Sample>,
}

impl Drift {
    pub(crate) fn judge(&self) -> Vec<Row> {
        let core = || self.samples.iter().filter(|sample| sample.core);
        let others = self.samples.iter().filter(|sample| !sample.core);
        let (least, percents) = (Needed::AtLeast(99.5), Unit::Percent);
        vec![
            Row::new(
                "core served all the way",
                least,
                percents,
                percent(core(), Sample::is_served),
            ),
            Row::new(
                "others served",
                least,
                percents,
                percent(others, Sample::is_served),
            ),
        ]
    }
}
