//! A bounded pool: submit many tasks, keep few running, learn how each ended.

use std::hint::black_box;
use std::sync::Arc;

use rayon::ThreadPoolBuilder;
use threadpool::ThreadPool;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};

use crate::budget::Budget;
use crate::golang::Go;
use crate::work::{WORKERS, on_two_workers, tally};
use crate::{Contender, Group, ours};

/// Tasks submitted in one iteration: enough that filling and draining hardly count.
pub(crate) const TASKS: u64 = 1024;

/// Tasks that may run at the same time.
pub(crate) const IN_FLIGHT_MAX: usize = 64;

pub(super) fn groups(go: Option<&Go>) -> Vec<Group> {
    vec![
        Group::new("pool, async tasks", "task")
            .units_per_iteration(TASKS)
            .ours(ours::pool())
            .peer(on_two_workers(JOIN_SET, join_set))
            .peer(on_two_workers(JOIN_SET_UNBOUNDED, join_set_unbounded))
            .peer(on_two_workers(SEMAPHORE, semaphore))
            .peer_if(go.map(|go| go.contender("Go workers and channels", "pool")))
            .budget(Budget::AtMost { ns: 300.0 })
            .budget(Budget::AheadOf { peer: JOIN_SET })
            .budget(Budget::AheadOf {
                peer: JOIN_SET_UNBOUNDED,
            })
            .budget(Budget::AheadOf { peer: SEMAPHORE }),
        Group::new("pool, blocking tasks", "task")
            .units_per_iteration(TASKS)
            .ours(ours::blocking_pool())
            .peer(on_two_workers("tokio spawn_blocking", blocking))
            .peer(rayon())
            .peer(threadpool())
            .budget(Budget::AtMost { ns: 300.0 }),
    ]
}

const JOIN_SET: &str = "JoinSet, 64 in flight";

const JOIN_SET_UNBOUNDED: &str = "JoinSet, unbounded";

const SEMAPHORE: &str = "Semaphore and spawn, 64 in flight";

async fn join_set(iterations: u64) -> u64 {
    let mut completed = 0;
    for _ in 0..iterations {
        let mut set = JoinSet::new();
        for task in 0..TASKS {
            if set.len() == IN_FLIGHT_MAX {
                completed += u64::from(set.join_next().await.is_some_and(|end| end.is_ok()));
            }
            set.spawn(async move { work(task) });
        }
        completed += drain(set).await;
    }
    completed
}

/// What remains when the bound is left out; nothing then stops a burst from filling memory.
async fn join_set_unbounded(iterations: u64) -> u64 {
    let mut completed = 0;
    for _ in 0..iterations {
        let mut set = JoinSet::new();
        for task in 0..TASKS {
            set.spawn(async move { work(task) });
        }
        completed += drain(set).await;
    }
    completed
}

async fn drain(mut set: JoinSet<u64>) -> u64 {
    let mut completed = 0;
    while let Some(end) = set.join_next().await {
        completed += u64::from(end.is_ok());
    }
    completed
}

async fn semaphore(iterations: u64) -> u64 {
    let permits = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut completed = 0;
    for _ in 0..iterations {
        let mut handles = Vec::with_capacity(TASKS as usize);
        for task in 0..TASKS {
            let permit = Arc::clone(&permits)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            handles.push(tokio::spawn(async move {
                let done = work(task);
                drop(permit);
                done
            }));
        }
        for handle in handles {
            completed += u64::from(handle.await.is_ok());
        }
    }
    completed
}

async fn blocking(iterations: u64) -> u64 {
    let mut completed = 0;
    for _ in 0..iterations {
        let handles: Vec<_> = (0..TASKS)
            .map(|task| spawn_blocking(move || work(task)))
            .collect();
        for handle in handles {
            completed += u64::from(handle.await.is_ok());
        }
    }
    completed
}

/// Tells that all have ended, but not how each one did.
fn rayon() -> Contender {
    let pool = ThreadPoolBuilder::new()
        .num_threads(WORKERS)
        .build()
        .expect("a pool of two threads can be built");
    Contender::new("rayon scope", move |iterations| {
        for _ in 0..iterations {
            pool.in_place_scope(|scope| {
                for task in 0..TASKS {
                    scope.spawn(move |_| count(task));
                }
            });
        }
        tally().take()
    })
}

/// Tells that all have ended, but not how each one did.
fn threadpool() -> Contender {
    let pool = ThreadPool::new(WORKERS);
    Contender::new("threadpool", move |iterations| {
        for _ in 0..iterations {
            for task in 0..TASKS {
                pool.execute(move || count(task));
            }
            pool.join();
        }
        tally().take()
    })
}

pub(crate) fn work(task: u64) -> u64 {
    black_box(task)
}

fn count(task: u64) {
    work(task);
    tally().add_shared();
}
