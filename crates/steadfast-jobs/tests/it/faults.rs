//! Operation 1, 2, 3 … of the store fails under a worker, before it is done and after it: nothing is
//! lost, nothing is done twice, no attempt is spent by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::{BoxError, clock};
use steadfast_jobs::{Batch, Cancelled, Job, Jobs, Kind, Options, Run, What, Worker};
use steadfast_store::{Config, Fault, Faults, NodeConfig};
use tokio::sync::Notify;

use super::support::{Act, PATIENCE, look, until, until_state, worker};

/// How many operations are hit, one by one: enough for claims, ends, retries, and the looks that
/// follow a failure, to be hit several times.
const SWEPT: u64 = 10;

steadfast_store::on_every_store! {
    async fn a_fault_at_any_operation_costs_no_job_and_no_attempt(database) {
        let store = database.open().await;
        let clean = Jobs::open(&store).await.unwrap();
        let faults = Faults::new();
        let faulty = database.open_with(Config { faults: faults.clone(), ..database.config() }).await;
        let jobs = Jobs::open(&faulty).await.unwrap();
        // Nobody else may take what a fault has left: the worker itself has to find it.
        let node = NodeConfig::new("test", "0").with_lease(Duration::from_secs(300));
        let running = worker(&jobs).join(node).build().unwrap().start();
        let first = clean.enqueue(&Act::Succeed, Options::new()).await.unwrap();
        jobs.wake();
        until_state(&store, first, "completed").await;

        for fault in [Fault::Before, Fault::After] {
            for n in 1..=SWEPT {
                faults.on(n, fault);
                let mut ids = Vec::new();
                for act in [Act::Succeed, Act::FailOnce, Act::Snooze, Act::Answer(1)] {
                    ids.push(clean.enqueue(&act, Options::new()).await.unwrap());
                }
                jobs.wake();

                for (place, id) in ids.iter().enumerate() {
                    let seen = until_state(&store, *id, "completed").await;
                    let attempts = if place == 1 { 2 } else { 1 };
                    assert_eq!((seen.attempt, seen.crashes), (attempts, 0), "{fault:?} at {n}");
                }
            }
        }

        faults.clear();
        running.stop(PATIENCE).await;
    }

    async fn a_run_that_is_cancelled_and_not_tried_again_is_told_so_although_the_reply_was_lost(database) {
        let store = database.open().await;
        let clean = Jobs::open(&store).await.unwrap();
        let faults = Faults::new();
        let faulty = database.open_with(Config { faults: faults.clone(), ..database.config() }).await;
        let jobs = Jobs::open(&faulty).await.unwrap();
        let go_on = Arc::new(Notify::new());
        let waits = go_on.clone();
        let kind = Kind::new(move |_: Run, _: Count| {
            let waits = waits.clone();
            async move {
                waits.notified().await;
                Err::<(), BoxError>("no luck".into())
            }
        });
        // It does not learn that the run is to stop.
        faults.on_name("cancels", Fault::Delay(Duration::from_secs(3_600)));
        faults.on_name("put_back", Fault::After);
        let node = NodeConfig::new("test", "0").with_lease(Duration::from_secs(300));
        let running = Worker::builder(&jobs).kind(kind).join(node).build().unwrap().start();
        let mut events = running.events();
        let id = jobs.enqueue(&Count(1), Options::new()).await.unwrap();
        until(&mut events, id, |what| matches!(what, What::Started)).await;

        assert_eq!(clean.cancel(id, "not wanted").await.unwrap(), Cancelled::Asked);
        go_on.notify_one();
        let ended = |what: &What| !matches!(what, What::Started);
        let told = until(&mut events, id, ended).await;

        assert!(matches!(told.what, What::Cancelled), "{told:?}");
        assert_eq!(look(&store, id).await.unwrap().state, "cancelled");
        running.stop(PATIENCE).await;
    }

    async fn a_crowd_whose_replies_are_lost_runs_once_each(database) {
        // Enough that PostgreSQL is told ends beside claims.
        const CROWD: i64 = 4_000;
        let store = database.open().await;
        let clean = Jobs::open(&store).await.unwrap();
        let mut batch = Batch::new();
        for number in 0..CROWD {
            batch.push(&Count(number), Options::new()).unwrap();
        }
        let ids = clean.enqueue_batch(batch).await.unwrap();
        let faults = Faults::new();
        let faulty = database.open_with(Config { faults: faults.clone(), ..database.config() }).await;
        let jobs = Jobs::open(&faulty).await.unwrap();
        let runs: Arc<Vec<AtomicU64>> = Arc::new((0..CROWD).map(|_| AtomicU64::new(0)).collect());
        let counted = runs.clone();
        let kind = Kind::new(move |_: Run, job: Count| {
            let counted = counted.clone();
            async move {
                counted[job.0 as usize].fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        });
        let node = NodeConfig::new("test", "0").with_lease(Duration::from_secs(300));
        faults.on(3, Fault::After);
        let builder = Worker::builder(&jobs).kind(kind).queue("default", 1_000).join(node);
        let running = builder.build().unwrap().start();

        // From here on another operation each time: whichever is under way.
        let mut at = 3;
        while running.completed() < CROWD as u64 {
            if faults.hits() > 0 {
                at = at % 5 + 1;
                faults.on(at, if at % 2 == 0 { Fault::Before } else { Fault::After });
            }
            clock::sleep(Duration::from_millis(1)).await;
        }

        faults.clear();
        running.stop(PATIENCE).await;
        for id in ids {
            assert_eq!(look(&store, id).await.unwrap().attempt, 1);
        }
        let runs: Vec<u64> = runs.iter().map(|runs| runs.load(Ordering::Relaxed)).collect();
        assert!(runs.iter().all(|runs| *runs == 1), "{runs:?}");
    }
}

#[derive(Serialize, Deserialize)]
struct Count(i64);

impl Job for Count {
    const KIND: &'static str = "count";
}
