//! Long work that tells how it gets on: a run that hangs looks like one that is slow, but for the signs
//! of progress. The one is ended and made again, the other is left alone however long it takes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast::BoxError;
use steadfast::clock::sleep;
use steadfast::jobs::{Job, Kind, Run};

/// A run that has not got on for three times this is stuck.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Counts what is on the shelves of a room.
#[derive(Serialize, Deserialize)]
pub struct CountShelves {
    /// Which room.
    pub room: String,
    /// How many shelves it has; each takes half a second.
    pub shelves: u32,
}

impl Job for CountShelves {
    const KIND: &'static str = "count_shelves";
}

/// Counts shelf by shelf, and says so after each.
pub fn kind() -> Kind {
    Kind::new(async |run: Run, job: CountShelves| {
        for _ in 0..job.shelves {
            sleep(Duration::from_millis(500)).await;
            #[cfg(feature = "drill")]
            crate::faults::reach(&job.room).await;
            run.beat();
        }
        Ok::<_, BoxError>(job.shelves)
    })
    .beat_every(BEAT_EVERY)
}
