//! Clients that leave half-way: what was begun for them is undone.

use super::{Needed, Outcome, Row, Sample, Unit};

/// Clients of orders leave after a few milliseconds.
#[derive(Debug, Default)]
pub(crate) struct GivingUp {
    pub(crate) samples: Vec<Sample>,
    /// Money that is put aside at the gateway for nobody, after less before.
    pub(crate) left_aside: Option<f64>,
}

impl GivingUp {
    pub(crate) fn judge(&self) -> Vec<Row> {
        let gave_up = self
            .samples
            .iter()
            .filter(|it| it.outcome == Outcome::GaveUp)
            .count();
        vec![
            Row::new(
                "clients that left",
                Needed::AtLeast(10.0),
                Unit::Count,
                Some(gave_up as f64),
            ),
            Row::new(
                "holds that nobody released",
                Needed::AtMost(0.0),
                Unit::Count,
                self.left_aside,
            ),
        ]
    }
}
