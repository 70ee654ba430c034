//! A worker stands still with jobs in its hands, as a machine that is suspended or has no memory left.
//! Others take over; when it goes on, it does not know that, and what it did does not count.

use std::time::Duration;

use rustix::process::Signal;
use steadfast::clock;
use steadfast::jobs::schedule::{Outcome, Schedules};

use crate::drill::audit::audit;
use crate::drill::judge::Frozen;
use crate::drill::stage::Stage;

/// How long it stands still: longer than its lease and than the ten seconds between two occurrences.
const STILL: Duration = Duration::from_secs(12);

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<Frozen> {
    stage.usual(Duration::from_secs(2)).await?;
    // Until only those are left that pack: one that is frozen while it writes would keep the file from all others.
    clock::sleep(Duration::from_secs(1)).await;
    let from = clock::timestamp();
    stage.workers[0].signal(Signal::STOP)?;
    clock::sleep(STILL).await;
    let past = Schedules::new(stage.books.jobs())
        .history("settlement", clock::timestamp(), 500)
        .await;
    // First of all it goes on, whatever came of the question.
    stage.workers[0].signal(Signal::CONT)?;
    let made = past?.into_iter().filter(|occurrence| {
        occurrence.nominal > from
            && matches!(occurrence.outcome, Outcome::Made { by_hand: false, .. })
    });
    Ok(Frozen {
        meanwhile: made.count() as u64,
        audit: Some(audit(stage).await?),
    })
}
