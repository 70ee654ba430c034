//! A supervised task that fails at once and is started again, without any backoff.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use task_supervisor::{CancellationToken, SupervisedTask, SupervisorBuilder, TaskResult};
use tokio::sync::Notify;

use crate::work::on_one_thread;
use crate::{Group, ours};

pub(super) fn group() -> Group {
    Group::new("supervised restart, no backoff", "restart")
        .peer(on_one_thread("tokio::spawn in a loop", loop_by_hand))
        // Its timer sleeps at least until the next tick of tokio's, a millisecond, even for a
        // delay of zero.
        .peer(on_one_thread(
            "task-supervisor, delay 0 (sleeps a tick)",
            task_supervisor,
        ))
        .ours(ours::supervisor())
}

async fn loop_by_hand(restarts: u64) -> u64 {
    let task = Failing::new(restarts);
    let mut seen = 0;
    while tokio::spawn(task.clone().attempt())
        .await
        .is_ok_and(|end| end.is_err())
    {
        seen += 1;
    }
    seen
}

async fn task_supervisor(restarts: u64) -> u64 {
    let task = Failing::new(restarts);
    let supervisor = SupervisorBuilder::new()
        .with_task("failing", task.clone())
        .with_unlimited_restarts()
        .with_base_restart_delay(Duration::ZERO)
        .with_restart_jitter(0.0)
        .spawn();
    task.settled.notified().await;
    supervisor
        .shutdown()
        .await
        .expect("the supervisor ends on request");
    task.seen()
}

/// Fails at each start but the last.
#[derive(Clone)]
pub(crate) struct Failing {
    starts: Arc<AtomicU64>,
    restarts: u64,
    pub(crate) settled: Arc<Notify>,
}

impl Failing {
    pub(crate) fn new(restarts: u64) -> Self {
        Failing {
            starts: Arc::new(AtomicU64::new(0)),
            restarts,
            settled: Arc::new(Notify::new()),
        }
    }

    pub(crate) fn seen(&self) -> u64 {
        self.starts.load(Ordering::Relaxed) - 1
    }

    pub(crate) async fn attempt(self) -> TaskResult {
        let earlier_starts = self.starts.fetch_add(1, Ordering::Relaxed);
        if earlier_starts < self.restarts {
            return Err("failing on purpose".into());
        }
        self.settled.notify_one();
        Ok(())
    }
}

impl SupervisedTask for Failing {
    async fn run(self, _cancel: CancellationToken) -> TaskResult {
        self.attempt().await
    }
}
