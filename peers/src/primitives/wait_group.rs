//! Many tasks started, one wait for all of them, no results asked for.

use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::golang::Go;
use crate::work::{on_one_thread, tally};
use crate::{Group, ours};

/// Tasks waited for together.
pub(crate) const TASKS: u64 = 64;

pub(super) fn group(go: Option<&Go>) -> Group {
    Group::new("wait group, one thread", "task")
        .units_per_iteration(TASKS)
        .ours(ours::wait_group())
        .peer(on_one_thread("TaskTracker", task_tracker))
        .peer(on_one_thread("tokio JoinSet", join_set))
        .peer_if(go.map(|go| go.contender("Go sync.WaitGroup", "wait_group")))
}

async fn task_tracker(iterations: u64) -> u64 {
    for _ in 0..iterations {
        let tracker = TaskTracker::new();
        for _ in 0..TASKS {
            tracker.spawn(async { tally().add() });
        }
        tracker.close();
        tracker.wait().await;
    }
    tally().take()
}

async fn join_set(iterations: u64) -> u64 {
    for _ in 0..iterations {
        let mut set = JoinSet::new();
        for _ in 0..TASKS {
            set.spawn(async { tally().add() });
        }
        while set.join_next().await.is_some() {}
    }
    tally().take()
}
