//! Operation 1, 2, 3 … of the store fails under a worker, before it is done and after it: nothing is
//! lost, nothing is done twice, no attempt is spent by it.

use std::time::Duration;

use steadfast_jobs::{Jobs, Options};
use steadfast_store::{Config, Fault, Faults, NodeConfig};

use super::support::{Act, PATIENCE, until_state, worker};

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
}
