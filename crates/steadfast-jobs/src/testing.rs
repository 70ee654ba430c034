//! What tests of services need: what was enqueued, everything run to its end without waiting for its
//! time, a handler called in place. With the feature `test-util`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::time::Duration;

use serde::de::DeserializeOwned;
use steadfast_core::context::Context;
use steadfast_core::{BoxError, Cancel, ScopeError, clock, scope};
use tokio::sync::broadcast::error::TryRecvError;

use crate::worker::{Alone, Inner, Kind, Run, Worker, settled};
use crate::{Counts, Error, Filter, Job, JobId, Jobs, PAGE_MAX, State};

/// How long [`run_until_empty`] waits for something to happen to a job before it gives up: a minute.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Up to how many [`run_until_empty`] counts in each state: a million, more than a test has.
const COUNTED_MAX: u64 = 1_000_000;

/// Gives the live jobs of a kind, the newest first.
///
/// # Errors
/// When the store cannot be asked.
///
/// # Panics
/// When a payload is not of this type.
pub async fn enqueued<J: Job>(jobs: &Jobs) -> Result<Vec<J>, Error> {
    let mut found = Vec::new();
    let mut filter = Filter::live().kind(J::KIND);
    loop {
        let page = jobs.list(&filter, PAGE_MAX).await?;
        for job in page.jobs {
            // It may have ended between the two looks.
            if let Some(job) = jobs.find(job.id).await? {
                let payload = serde_json::from_str(&job.payload);
                found.push(payload.expect("the payload is of the type of its kind"));
            }
        }
        match page.next {
            Some(next) => filter = filter.after(next),
            None => return Ok(found),
        }
    }
}

/// Makes sure that a job of this kind that matches is live.
///
/// # Panics
/// When there is none, with how many of the kind there are, or when the store cannot be asked.
///
/// # Examples
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use steadfast_jobs::{Job, Jobs, Options, testing};
/// # use steadfast_store::{Config, Store};
/// # #[derive(Serialize, Deserialize)] struct SendReceipt { order: u64 }
/// # impl Job for SendReceipt { const KIND: &'static str = "send_receipt"; }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), steadfast_jobs::Error> {
/// # let folder = std::env::temp_dir().join(format!("jobs-doc-assert-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// # let store = Store::open(Config::sqlite(folder.join("shop.db"))).await?;
/// # let jobs = Jobs::open(&store).await?;
/// jobs.enqueue(&SendReceipt { order: 4711 }, Options::new()).await?;
///
/// testing::assert_enqueued(&jobs, |receipt: &SendReceipt| receipt.order == 4711).await;
/// # store.close().await; std::fs::remove_dir_all(folder).unwrap();
/// # Ok(()) }
/// ```
pub async fn assert_enqueued<J: Job>(jobs: &Jobs, matches: impl Fn(&J) -> bool) {
    let live = match enqueued::<J>(jobs).await {
        Ok(live) => live,
        Err(error) => panic!("the store cannot be asked: {error:?}"),
    };
    assert!(
        live.iter().any(matches),
        "no job of kind {:?} matches, of {} that are live",
        J::KIND,
        live.len()
    );
}

/// Runs jobs until none is live, in virtual time: what waits for its time, for its next attempt or
/// its snooze is made due at once. Gives how many have ended in which way, in all; up to a million each.
///
/// # Errors
/// When the store cannot be asked.
///
/// # Panics
/// When nothing has happened to any job for [`PATIENCE`]: a handler hangs, a queue is paused, or the worker knows
/// a kind not.
pub async fn run_until_empty(worker: Worker) -> Result<Counts, Error> {
    let jobs = worker.jobs().clone();
    let mut events = worker.events();
    let running = worker.start();
    let mut last = clock::now();
    loop {
        let waiting = jobs.list(&Filter::state(State::Waiting), PAGE_MAX).await?;
        for job in waiting.jobs {
            jobs.run_now(job.id).await?;
        }
        let counts = jobs.counts().await?;
        let live = [State::Pending, State::Running, State::Waiting];
        if live.iter().all(|state| counts.of(*state) == 0) {
            running.stop(PATIENCE).await;
            return jobs.counts_up_to(COUNTED_MAX).await;
        }
        // Not by the counts, which stay as they are while there are more of all than they tell.
        while let Ok(_) | Err(TryRecvError::Lagged(_)) = events.try_recv() {
            last = clock::now();
        }
        assert!(
            clock::now() - last < PATIENCE,
            "jobs do not end: {counts:?}"
        );
        clock::sleep(Duration::from_millis(2)).await;
    }
}

/// Calls the handler of a kind in place, in a scope of its own and without a store; gives its
/// result. Its [`Run`] says that it is the first attempt of job 1.
///
/// # Errors
/// As the handler ended, or when the payload or the result cannot be written and read as JSON.
///
/// # Examples
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use steadfast_jobs::{Job, Kind, Run, testing};
/// # #[derive(Serialize, Deserialize)] struct Double { number: u64 }
/// # impl Job for Double { const KIND: &'static str = "double"; }
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let kind = Kind::new(async |_: Run, job: Double| Ok(job.number * 2));
///
/// let doubled: Option<u64> = testing::inline(&kind, &Double { number: 21 }).await.unwrap();
/// assert_eq!(doubled, Some(42));
/// # }
/// ```
pub async fn inline<J: Job, R: DeserializeOwned>(
    kind: &Kind,
    job: &J,
) -> Result<Option<R>, ScopeError<BoxError>> {
    let failed = |error: serde_json::Error| ScopeError::Failed(error.into());
    let payload = serde_json::to_string(job).map_err(failed)?;
    let cancel = Cancel::new();
    let run = Run(Arc::new(Inner {
        id: JobId(1),
        term: 1,
        incarnation: 0,
        spent: 0,
        max_attempts: J::MAX_ATTEMPTS,
        crashes: 0,
        longest: kind.longest(None),
        cancel: cancel.clone(),
        lost: Cancel::new(),
        beat_ns: AtomicU64::new(clock::nanos()),
        settled: AtomicU8::new(settled::NO),
        alone: Alone::default(),
        context: Context::new(),
    }));
    let result = scope(J::KIND)
        .timeout(kind.longest(None))
        .cancel_on(&cancel)
        .cleanup_limit(kind.cleanup_limit)
        .run(async |body| kind.handle(run, body, &payload).await)
        .await?;
    let read = result.as_deref().map(serde_json::from_str);
    read.transpose().map_err(failed)
}
