//! SIGTERM under load: whoever was inside is served to the end.

use std::time::Duration;

use super::{Needed, Row, Sample, Unit};

/// The shop is told to end.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    pub(crate) samples: Vec<Sample>,
    /// When, from the start of the load.
    pub(crate) told: Option<Duration>,
    /// How long it took to end, in seconds.
    pub(crate) took_s: Option<f64>,
    /// Its exit code; none where it was ended by a signal.
    pub(crate) exit_code: Option<i32>,
}

impl Drain {
    pub(crate) fn judge(&self) -> Vec<Row> {
        let inside: Vec<_> = self.inside().collect();
        let failed = inside.iter().filter(|sample| !sample.is_served()).count();
        vec![
            Row::new(
                "requests in flight that failed",
                Needed::AtMost(0.0),
                Unit::Count,
                (!inside.is_empty()).then_some(failed as f64),
            ),
            Row::new(
                "ended after",
                Needed::AtMost(20.0),
                Unit::Seconds,
                self.took_s,
            ),
            Row::new(
                "exit code",
                Needed::AtMost(0.0),
                Unit::Count,
                self.exit_code.map(f64::from),
            ),
        ]
    }

    /// Those that were sent before the signal and not answered by then.
    fn inside(&self) -> impl Iterator<Item = &Sample> {
        let told = self.told;
        self.samples
            .iter()
            .filter(move |it| told.is_some_and(|told| it.due < told && it.ended() > told))
    }
}
