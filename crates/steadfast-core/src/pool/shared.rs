use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::config::{PoolConfig, PoolError, Refusal, check_workers};
use super::crew::Card;
use super::gate::{Apart, Gate};
use super::inbox::{Inbox, Posted};
use super::job::{Runnable, wake};
use super::line::{Carded, Line, Next, Wakes};
use super::stats::PoolStats;
use super::worker::Worker;
use crate::cancel::{self, Cause};
use crate::clock;
use crate::context::{AsNode, Name, Node, Tier};
use crate::report::EventDoc;
use crate::scope::Verdict;
use crate::{report, voice};

/// What handles, tickets, jobs and workers of a pool share.
///
/// Under the lock of the line nothing waits and no code of others runs: tasks that come out of it
/// are dropped, and wakers woken, after it.
pub(super) struct Shared {
    pub(super) name: Name,
    pub(super) queue_max: usize,
    /// Around all tasks: for their scope path, and to tell them of a stop.
    node: Node,
    gate: Gate<Task>,
    /// Locked before the gate by whoever needs both.
    line: Apart<Mutex<Line<Task, Waker>>>,
    /// Set before the workers are woken to look at it.
    stopped: OnceLock<Cause>,
    ended: Notify,
    kind: Workers,
}

pub(super) type Task = Arc<dyn Runnable>;

impl Carded for Task {
    fn card(&self) -> Card {
        (**self).card()
    }
}

/// What the workers are.
pub(super) enum Workers {
    Tasks(Handle),
    Threads,
}

impl Workers {
    fn max(&self) -> usize {
        match self {
            Workers::Tasks(_) => PoolConfig::WORKERS_MAX,
            Workers::Threads => PoolConfig::THREADS_MAX,
        }
    }
}

/// What the handles of a pool hold: with the last of them it is drained.
pub(super) struct Owner {
    pub(super) shared: Arc<Shared>,
}

impl Owner {
    /// Makes a pool and starts its workers.
    pub(super) fn start(config: PoolConfig, kind: Workers) -> Result<Arc<Self>, PoolError> {
        let shared = Shared::start(config, kind)?;
        Ok(Arc::new(Self { shared }))
    }
}

/// The pools of this process, for its end.
static POOLS: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// Gives the pools that still have tasks, running or queued.
pub(crate) fn unfinished() -> Vec<PoolStats> {
    let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let stats = pools
        .iter()
        .filter_map(Weak::upgrade)
        .map(|pool| pool.stats());
    stats
        .filter(|stats| stats.in_flight + stats.depth() > 0)
        .collect()
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl AsNode for Shared {
    fn node(&self) -> &Node {
        &self.node
    }
}

/// What it tells to the log.
pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new(
        "steadfast::pool",
        &["warn"],
        "pool is missing in reports",
        &["error", "pool"],
    )
    .when("There are 1,024 sources already.")
    .action("Fewer pools, groups and guards, or longer lives of them."),
    EventDoc::new(
        "steadfast::pool",
        &["warn"],
        "pool lost its runtime with tasks in the queue",
        &["pool", "tasks"],
    )
    .when("The runtime of a pool ended before the pool.")
    .action("Drain the pool before the runtime ends; the tasks were cancelled."),
];

impl Shared {
    fn start(config: PoolConfig, kind: Workers) -> Result<Arc<Self>, PoolError> {
        config.check(kind.max())?;
        let shared = Arc::new(Self {
            name: config.name,
            queue_max: config.queue_max,
            node: Node::owner(config.name),
            gate: Gate::new(),
            line: Apart(Mutex::new(Line::new(config.queue_max, config.workers))),
            stopped: OnceLock::new(),
            ended: Notify::new(),
            kind,
        });
        if let Err(error) = shared.resize(config.workers) {
            shared.halt(Cause::Dropped);
            return Err(error);
        }
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&shared));
        drop(pools);
        if let Err(error) = report::register(config.name, &shared) {
            tracing::warn!(
                target: "steadfast::pool",
                pool = config.name.as_str(),
                %error,
                "pool is missing in reports"
            );
        }
        Ok(shared)
    }

    pub(super) fn line(&self) -> MutexGuard<'_, Line<Task, Waker>> {
        self.line.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the line with all in it that was accepted.
    pub(super) fn whole_line(&self) -> MutexGuard<'_, Line<Task, Waker>> {
        let mut line = self.line();
        line.take_over(&mut self.gate.lock_to_empty());
        line
    }

    /// Accepts a task, if that needs no look at the line.
    pub(super) fn post(&self, tier: Tier, since: u64, task: Task) -> Posted<Task> {
        self.gate.post(tier, since, task)
    }

    /// Changes line and inbox, then wakes whom that concerns.
    pub(super) fn change<R>(
        &self,
        change: impl FnOnce(&mut Line<Task, Waker>, &mut Inbox<Task>, &mut Wakes<Waker>) -> R,
    ) -> R {
        let mut wakes = Wakes::new();
        let mut line = self.line();
        let mut inbox = self.gate.lock_to_empty();
        let changed = change(&mut line, &mut inbox, &mut wakes);
        drop((inbox, line));
        wakes.into_iter().for_each(wake);
        changed
    }

    /// Cancels a task if it is still queued; tells whether it was.
    pub(super) fn withdraw(&self, tier: Tier, number: u64, cause: &Cause) -> bool {
        let task = self.change(|line, inbox, wakes| line.withdraw(inbox, tier, number, wakes));
        let withdrawn = task.is_some();
        cancel_all(task, cause);
        withdrawn
    }

    pub(super) fn enroll(&self, id: usize, waker: Waker) {
        self.line().enroll(id, waker);
    }

    /// Tells a worker what to do next.
    pub(super) fn next(&self, id: usize, ended: Option<Verdict>) -> Next<Task> {
        let now = clock::nanos();
        let mut wakes = Wakes::new();
        let mut line = self.line();
        line.arrive(id, ended);
        let mut inbox = None;
        if line.needs(self.gate.sign()) {
            let inbox = inbox.insert(self.gate.lock_to_empty());
            line.take_over(inbox);
        }
        let next = line.tell(id, now, &mut wakes);
        if line.is_unsettled() {
            let inbox = inbox.get_or_insert_with(|| self.gate.lock_to_empty());
            line.settle(inbox, &mut wakes);
        }
        let over = line.has_ended();
        drop((inbox, line));
        wakes.into_iter().for_each(wake);
        if over {
            self.ended.notify_waiters();
        }
        next
    }

    /// A worker is gone without having been told to leave, as when its runtime ends.
    pub(super) fn lost(&self, id: usize) {
        let (tasks, over) = self.change(|line, inbox, wakes| {
            let tasks = line.lost(inbox, id, wakes);
            (tasks, line.has_ended())
        });
        if !tasks.is_empty() {
            voice::tell(|| {
                tracing::warn!(
                    target: "steadfast::pool",
                    pool = self.name.as_str(),
                    tasks = tasks.len(),
                    "pool lost its runtime with tasks in the queue"
                );
            });
        }
        cancel_all(tasks, &cancel::drop_cause());
        if over {
            self.ended.notify_waiters();
        }
    }

    /// Gives the cause once the pool was stopped.
    pub(super) fn stopped(&self) -> Option<&Cause> {
        self.stopped.get()
    }

    pub(super) fn resize(self: &Arc<Self>, workers: usize) -> Result<(), PoolError> {
        check_workers(workers, self.kind.max())?;
        let ids = self.change(|line, inbox, wakes| line.resize(inbox, workers, wakes));
        let mut failed: Option<io::Error> = None;
        let mut missing = 0;
        for id in ids {
            let worker = Worker::new(self.clone(), id);
            let started = match &self.kind {
                Workers::Tasks(runtime) => {
                    worker.run_on(runtime);
                    Ok(())
                }
                Workers::Threads => worker.run_on_thread(),
            };
            if let Err(error) = started {
                missing += 1;
                failed = Some(error);
            }
        }
        match failed {
            None => Ok(()),
            Some(source) => Err(Refusal::NoThread { missing, source }.into()),
        }
    }

    fn close(&self) {
        self.change(Line::close);
    }

    /// Accepts nothing any more, now; the future waits until all that was accepted has ended.
    pub(super) fn drain(self: Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        self.close();
        async move { self.ended().await }
    }

    /// Accepts nothing any more and cancels what is accepted, now; the future waits until the
    /// workers have left.
    pub(super) fn stop(self: Arc<Self>, cause: Cause) -> impl Future<Output = ()> + Send + use<> {
        self.halt(cause);
        async move { self.ended().await }
    }

    fn halt(&self, cause: Cause) {
        // The first cause wins, also for tasks that this very call finds.
        let cause = self.stopped.get_or_init(|| cause);
        self.node.stop(cause.clone());
        let tasks = self.change(Line::stop);
        cancel_all(tasks, cause);
    }

    /// Waits until all workers have left.
    async fn ended(&self) {
        loop {
            // Made before the look, so that an end between the two is not missed.
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.line().has_ended() {
                return;
            }
            ended.await;
        }
    }
}

fn cancel_all(tasks: impl IntoIterator<Item = Task>, cause: &Cause) {
    for task in tasks {
        // The line has counted it when it gave it out.
        task.cancel(task.clone(), cause.clone(), &mut || {});
    }
}
