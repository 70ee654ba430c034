//! A worker is killed with `kill -9` in the middle of a settlement: when its entry is in the ledger, and
//! what it settles is not marked yet.

use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;
use steadfast::clock::{self, Instant};
use steadfast::jobs::schedule::Schedules;
use steadfast::jobs::{JobId, State};
use steadfast_shop::faults::Fault;

use super::always;
use crate::drill::audit::audit;
use crate::drill::judge::Killed;
use crate::drill::log::Line;
use crate::drill::process::PATIENCE;
use crate::drill::stage::{LEASE, Stage, USUAL};

/// How long a settlement is held up at most, while nobody else can write.
const HELD_UP: Duration = Duration::from_secs(30);

const LOOK_EVERY: Duration = Duration::from_millis(10);

pub(in crate::drill) fn nothing() -> Killed {
    Killed {
        lease_s: LEASE.as_secs_f64(),
        ..Killed::default()
    }
}

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<Killed> {
    let lasts = stage.lasts(5.0, 3.0);
    // There has to be something to settle.
    stage.usual(Duration::from_secs(1)).await?;
    let load = stage.load(USUAL.to_vec(), lasts);
    let since: Vec<usize> = stage
        .workers
        .iter()
        .map(|worker| worker.log.len())
        .collect();
    for worker in &mut stage.workers {
        worker
            .hurt(&always("settlement", Fault::Hang, HELD_UP))
            .await?;
    }
    if stage.protected {
        // An occurrence may have been quicker: then that one is hurt.
        Schedules::new(stage.books.jobs())
            .run_now("settlement")
            .await?;
    }
    let (victim, _) = reached(stage, &since).await?;
    let mut killed = stage.workers.remove(victim);
    killed.signal(Signal::KILL)?;
    let at = clock::now();
    let ended = killed.ended_within(PATIENCE).await?;
    ended.context("a killed process is gone")?;
    for worker in &mut stage.workers {
        worker
            .hurt(&always("settlement", Fault::Hang, Duration::ZERO))
            .await?;
    }
    // The unprotected shop has nobody else: it gets its worker back first.
    if !stage.protected {
        stage.add_worker().await?;
    }
    let rescued_s = match stage.protected {
        true => rescued(stage, at).await?,
        false => None,
    };
    if stage.protected {
        stage.add_worker().await?;
    }
    stage.end(load).await?;
    Ok(Killed {
        rescued_s,
        audit: Some(audit(stage).await?),
        ..nothing()
    })
}

/// Waits until one of the workers is in the middle of a settlement.
async fn reached(stage: &Stage, since: &[usize]) -> anyhow::Result<(usize, Line)> {
    let until = clock::now() + PATIENCE;
    while clock::now() < until {
        for (index, (worker, since)) in stage.workers.iter().zip(since).enumerate() {
            let lines = worker
                .log
                .since(*since, "shop::fault", "a fault is reached");
            if let Some(line) = lines.into_iter().next() {
                return Ok((index, line));
            }
        }
        clock::sleep(LOOK_EVERY).await;
    }
    bail!("no worker has begun to settle within {PATIENCE:?}")
}

/// Waits until the settlement of the dead worker was completed by another, and tells after how long.
async fn rescued(stage: &Stage, killed: Instant) -> anyhow::Result<Option<f64>> {
    let until = clock::now() + PATIENCE;
    let mut job: Option<JobId> = None;
    while clock::now() < until {
        let rescued = stage.workers.iter().flat_map(|worker| {
            worker
                .log
                .since(0, "steadfast::jobs", "rescued a job from a dead node")
        });
        let settle = rescued
            .filter(|line| line.at >= killed && line.field("kind").as_deref() == Some("settle"))
            .find_map(|line| line.field("job")?.parse::<u64>().ok());
        if job.is_none() {
            job = settle.and_then(JobId::new);
        }
        if let Some(id) = job
            && let Some(found) = stage.books.jobs().find(id).await?
            && found.info.state == State::Completed
        {
            return Ok(Some((clock::now() - killed).as_secs_f64()));
        }
        clock::sleep(LOOK_EVERY).await;
    }
    Ok(None)
}
