//! Two jobs count shelves. One hangs, the other is slow, and takes longer than what tells the first one.

use std::time::Duration;

use steadfast::clock::{self, Instant};
use steadfast::jobs::{JobDetail, JobId, Options, State};
use steadfast_shop::faults::Fault;
use steadfast_shop::work::inventory::CountShelves;

use super::always;
use crate::drill::judge::Progress;
use crate::drill::process::PATIENCE;
use crate::drill::stage::Stage;

/// How many shelves the slow one has: eight seconds of them.
const SHELVES: u32 = 16;

/// How long the other one hangs.
const HANGS: Duration = Duration::from_secs(12);

const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<Progress> {
    for worker in &mut stage.workers {
        worker.hurt(&always("attic", Fault::Hang, HANGS)).await?;
    }
    let begun = clock::now();
    let endless = enqueue(stage, "attic", 1).await?;
    let slow = enqueue(stage, "cellar", SHELVES).await?;
    let ended_s = after(stage, endless, begun, |job| job.info.attempt >= 1).await?;
    let slow_took_s = after(stage, slow, begun, |job| job.info.state == State::Completed).await?;
    let found = stage.books.jobs().find(slow).await?;
    let well = found.filter(|job| job.info.state == State::Completed);
    let done = after(stage, endless, begun, |job| {
        job.info.state == State::Completed
    })
    .await?;
    Ok(Progress {
        ended_s,
        // What is spent is counted from the first that has failed.
        slow_attempts: well.map(|job| u64::from(job.info.attempt).max(1)),
        slow_took_s,
        done_after: Some(done.is_some()),
    })
}

async fn enqueue(stage: &Stage, room: &str, shelves: u32) -> anyhow::Result<JobId> {
    let room = room.to_owned();
    let job = CountShelves { room, shelves };
    Ok(stage.books.jobs().enqueue(&job, Options::new()).await?)
}

/// Waits for something to be so of a job, and tells after how long.
async fn after(
    stage: &Stage,
    id: JobId,
    begun: Instant,
    is: impl Fn(&JobDetail) -> bool,
) -> anyhow::Result<Option<f64>> {
    let until = clock::now() + PATIENCE;
    while clock::now() < until {
        let job = stage.books.jobs().find(id).await?;
        if job.as_ref().is_some_and(&is) {
            return Ok(Some((clock::now() - begun).as_secs_f64()));
        }
        clock::sleep(LOOK_EVERY).await;
    }
    Ok(None)
}
