//! Money that was put aside for nothing is given back: in a job, since the gateway that has to be told may be the very
//! reason why nothing came of it. The cleanup of a request is over in a moment and has one try; a job is there also when the
//! process dies after that, has twenty attempts in half a day or so, and waits while the gateway is left alone. One whose
//! last attempt has failed is discarded, which is told as an error and stays in the list until somebody puts it back to work
//! (`steadfast jobs retry`). Of a process that dies between the gateway and the books nothing is known here: what it put
//! aside is the gateway's to give back, as a real one does.

use serde::{Deserialize, Serialize};
use steadfast::jobs::{Job, Kind, Run};

use crate::payments::{Hold, Payments};

/// Releases what was put aside.
#[derive(Serialize, Deserialize)]
pub struct ReleaseHold {
    /// The number of the hold.
    pub hold: u64,
}

impl Job for ReleaseHold {
    const KIND: &'static str = "release_hold";
}

/// Releasing twice is releasing once, so a run that is cut off is made again.
pub fn kind(payments: Payments) -> Kind {
    let looks = payments.clone();
    Kind::new(move |_: Run, job: ReleaseHold| {
        let payments = payments.clone();
        async move { Ok(payments.release(&Hold::of(job.hold)).await?) }
    })
    .hold_while(move || looks.are_left_alone())
}
