//! A task that is spawned and joined, one at a time.

use std::hint::black_box;

use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::budget::Budget;
use crate::golang::Go;
use crate::work::{on_one_thread, on_two_workers};
use crate::{Group, ours};

pub(super) fn groups(go: Option<&Go>) -> Vec<Group> {
    vec![
        Group::new("spawn and join, one thread", "task")
            .ours(ours::spawn_on_one_thread())
            .peer(on_one_thread(TOKIO_SPAWN, tokio_spawn))
            .peer(on_one_thread("tokio JoinSet", join_set))
            .peer(on_one_thread("TaskTracker", task_tracker))
            .peer_if(go.map(|go| go.contender("Go goroutine and channel", "spawn_1")))
            .budget(BUDGET),
        Group::new("spawn and join, two workers", "task")
            .ours(ours::spawn_on_two_workers())
            .peer(on_two_workers(TOKIO_SPAWN, tokio_spawn))
            .peer(on_two_workers("tokio JoinSet", join_set))
            .peer(on_two_workers("TaskTracker", task_tracker))
            .peer_if(go.map(|go| go.contender("Go goroutine and channel", "spawn_2")))
            .budget(BUDGET),
    ]
}

const TOKIO_SPAWN: &str = "tokio::spawn";

const BUDGET: Budget = Budget::AtMostOver {
    peer: TOKIO_SPAWN,
    ns: 100.0,
};

async fn tokio_spawn(tasks: u64) -> u64 {
    let mut joined = 0;
    for task in 0..tasks {
        let handle = tokio::spawn(async move { work(task) });
        joined += u64::from(handle.await.is_ok());
    }
    joined
}

/// One set for all of them: a set a task would measure the set.
async fn join_set(tasks: u64) -> u64 {
    let mut set = JoinSet::new();
    let mut joined = 0;
    for task in 0..tasks {
        set.spawn(async move { work(task) });
        joined += u64::from(set.join_next().await.is_some_and(|task| task.is_ok()));
    }
    joined
}

async fn task_tracker(tasks: u64) -> u64 {
    let tracker = TaskTracker::new();
    let mut joined = 0;
    for task in 0..tasks {
        let handle = tracker.spawn(async move { work(task) });
        joined += u64::from(handle.await.is_ok());
    }
    joined
}

pub(crate) fn work(task: u64) -> u64 {
    black_box(task)
}
