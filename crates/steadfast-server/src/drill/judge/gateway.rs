//! A gateway that hangs: it is left alone soon, and found again soon.

use std::time::Duration;

use super::samples::{percent, quantile};
use super::{Needed, Row, Sample, Unit};

/// The gateway takes far longer than anybody waits.
#[derive(Debug, Default)]
pub(crate) struct Gateway {
    pub(crate) samples: Vec<Sample>,
    /// When the fault began and ended, from the start of the load.
    pub(crate) fault: Option<(Duration, Duration)>,
    /// When the breaker opened first, from the start of the load.
    pub(crate) opened: Option<Duration>,
}

impl Gateway {
    pub(crate) fn judge(&self) -> Vec<Row> {
        let others = self.samples.iter().filter(|sample| !sample.core);
        let while_open = self.samples.iter().filter(|sample| {
            let (Some(opened), Some((_, ends))) = (self.opened, self.fault) else {
                return false;
            };
            // Those that came before are still waited for.
            sample.core && sample.due >= opened && sample.due < ends
        });
        vec![
            Row::new(
                "breaker opens after",
                Needed::AtMost(3.0),
                Unit::Seconds,
                self.opens_after(),
            ),
            Row::new(
                "first good call after the fault",
                Needed::AtMost(5.0),
                Unit::Seconds,
                self.good_after(),
            ),
            Row::new(
                "core told no within, median, once it is open",
                Needed::AtMost(50.0),
                Unit::Milliseconds,
                quantile(while_open, 0.5),
            ),
            Row::new(
                "requests without the gateway served",
                Needed::AtLeast(99.5),
                Unit::Percent,
                percent(others, Sample::is_served),
            ),
        ]
    }

    fn opens_after(&self) -> Option<f64> {
        let (begins, _) = self.fault?;
        Some(self.opened?.checked_sub(begins)?.as_secs_f64())
    }

    fn good_after(&self) -> Option<f64> {
        let (_, ends) = self.fault?;
        // One that came before the end has only waited for it.
        let good = self
            .samples
            .iter()
            .filter(|it| it.core && it.due >= ends && it.is_served());
        let first = good.map(Sample::ended).min()?;
        Some((first - ends).as_secs_f64())
    }
}
