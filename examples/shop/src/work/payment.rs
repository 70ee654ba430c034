//! The money that was put aside is paid: in a job, so that an order that was written down is paid
//! for, also when the process dies in the next moment or the gateway is gone for an hour.

use serde::{Deserialize, Serialize};
use steadfast::jobs::{Job, Kind, Run};

use crate::payments::{Hold, Payments};

/// Pays what was put aside for an order.
#[derive(Serialize, Deserialize)]
pub struct ConfirmPayment {
    /// The number of the hold.
    pub hold: u64,
}

impl Job for ConfirmPayment {
    const KIND: &'static str = "confirm_payment";
}

/// A run that is cut off is made again. The gateway does once what it is told twice under one key,
/// and the number of the hold is that key.
pub fn kind(payments: Payments) -> Kind {
    let looks = payments.clone();
    Kind::new(move |_: Run, job: ConfirmPayment| {
        let payments = payments.clone();
        async move { Ok(payments.confirm(&Hold::of(job.hold)).await?) }
    })
    .hold_while(move || looks.are_left_alone())
}
