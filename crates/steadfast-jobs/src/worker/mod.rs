//! What runs jobs: claims them, gives each a scope, and tells the store how it ended.
//!
//! # The problem
//! A worker that takes a job and dies leaves it to nobody. So every queue gives jobs back after
//! some time; and then a worker that was only slow, paused or cut off finishes a job that another
//! has taken up, and overwrites what that one did.
//!
//! # The tool
//! A worker is a *node* in the store: it holds a lease that it renews, and every job it claims is
//! leased with it, under a *term* that grows with each claim and each rescue. Whatever a worker
//! writes about a job carries both, so that what a late one says changes nothing. A worker that
//! cannot renew its lease stops by itself, before others take its jobs.
//!
//! | failure | what follows |
//! |---|---|
//! | a handler fails, panics, or its time is up | another attempt after the backoff of its kind, or the end when they are spent |
//! | its process dies | others take the job when the lease is over: by default within 40 seconds |
//! | its process dies again and again | the job is a suspect, then quarantined: [`crate::decide::crash`] |
//! | the store is away | handlers go on while the lease holds; ends are kept and told later |
//! | the process is paused or cut off for longer than the lease | handlers are cancelled with [`Cause::LeaseLost`]; what they say does not count |
//! | the process goes down in good order | handlers may end; what was not started is handed back, and spends no attempt |

mod alone;
mod engine;
mod execute;
mod kind;
mod run;
mod tally;
mod upkeep;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use steadfast_core::context::Tier;
use steadfast_core::decide::backoff::Backoff;
use steadfast_core::{Cancel, Cause, Shutdown, Task, clock, recover_async, report, rng, spawn};
use steadfast_store::{Incarnation, Node, NodeConfig};
use tokio::sync::{broadcast, mpsc};

pub use kind::{Body, CLEANUP_LIMIT_MAX, Kind, OnLeaseLost, TIMEOUT, TIMEOUT_MAX};
pub use run::Run;
#[cfg(feature = "test-util")]
pub(crate) use {
    alone::Alone,
    run::{Inner, settled},
};

use crate::error::Refusal;
use crate::event::{JobEvent, What};
use crate::job::check_name;
use crate::{Error, Jobs, Retention};
use engine::{Engine, Exit, Legacy};
use execute::Finished;
use tally::Tally;

/// How many jobs of a queue a worker runs at once unless [`WorkerBuilder::queue`] says otherwise:
/// 100, since most handlers wait for others nearly all of the time.
pub const PERMITS: usize = 100;

/// The most permits of a queue: 10,000.
pub const PERMITS_MAX: usize = 10_000;

/// How often a worker looks for dead nodes unless [`WorkerBuilder::rescue_every`] says otherwise:
/// 5 s, give or take a fifth, which is cheap and short beside the lease.
pub const RESCUE_EVERY: Duration = Duration::from_secs(5);

/// Describes a worker; made by [`Worker::builder`].
#[derive(Debug)]
#[must_use = "a worker does nothing until it is built and started"]
pub struct WorkerBuilder {
    jobs: Jobs,
    queues: Vec<(String, usize)>,
    kinds: Vec<Kind>,
    version: u32,
    rescue_every: Duration,
    retention: Retention,
    node: Membership,
}

/// As which node a worker works.
#[derive(Debug, Clone)]
enum Membership {
    /// As one of its own.
    Joins(NodeConfig),
    /// As one that the process has joined as already.
    Given(Node),
}

/// What a worker was told, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) queues: Vec<(String, usize)>,
    pub(crate) kinds: HashMap<&'static str, Arc<Kind>>,
    pub(crate) version: u32,
    pub(crate) rescue_every: Duration,
    pub(crate) retention: Retention,
}

impl Settings {
    pub(crate) fn kind_names(&self) -> Vec<String> {
        self.kinds.keys().map(|name| (*name).to_owned()).collect()
    }

    /// Gives the kinds of which nothing is to be claimed now.
    pub(crate) fn held_kinds(&self) -> Vec<&'static str> {
        let held = self.kinds.values().filter(|kind| kind.is_held());
        held.map(|kind| kind.name).collect()
    }

    /// Gives all others.
    pub(crate) fn kinds_without(&self, held: &[&'static str]) -> Vec<String> {
        let wanted = self.kinds.keys().filter(|kind| !held.contains(kind));
        wanted.map(|kind| (*kind).to_owned()).collect()
    }

    /// Tells whether there are any. A claim for none would read through all that waits, to find nothing.
    pub(crate) fn wants_any(&self) -> bool {
        self.kinds.values().any(|kind| !kind.is_held())
    }

    /// Gives the kinds whose runs give signs of progress.
    pub(crate) fn beating_kinds(&self) -> Vec<String> {
        let kinds = self.kinds.values().filter(|kind| kind.beat_every.is_some());
        kinds.map(|kind| kind.name.to_owned()).collect()
    }
}

impl WorkerBuilder {
    /// Takes jobs from this queue, and runs up to `permits` of them at once: 1 to [`PERMITS_MAX`].
    /// Without any, a worker takes from the queue `default` with [`PERMITS`].
    pub fn queue(mut self, name: impl Into<String>, permits: usize) -> Self {
        self.queues.push((name.into(), permits));
        self
    }

    /// Runs jobs of this kind. Those of kinds that no handler is here for are left to other nodes.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kinds.push(kind);
        self
    }

    /// Says which version this node is, for jobs with
    /// [`Options::min_version`](crate::Options::min_version): 0 unless set.
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Looks for dead nodes this often, give or take a fifth: [`RESCUE_EVERY`] unless set, from
    /// 10 ms to 5 minutes.
    pub fn rescue_every(mut self, every: Duration) -> Self {
        self.rescue_every = every;
        self
    }

    /// Works as a node of its own with this config: the service `jobs` with the usual times, unless
    /// set.
    pub fn join(mut self, config: NodeConfig) -> Self {
        self.node = Membership::Joins(config);
        self
    }

    /// Works as this node, which several parts of a process can share. It has to be of the same
    /// store, and is not left when the worker ends. Workers that share a node have to take from
    /// different queues: what a node holds of a queue belongs to one of them. Where several have the same kind, other
    /// nodes leave its runs alone for the longest of their times, as long as the node lives.
    pub fn node(mut self, node: Node) -> Self {
        self.node = Membership::Given(node);
        self
    }

    /// Says how long ended jobs are kept.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Checks it.
    ///
    /// # Errors
    /// When there is no kind, a kind twice, a queue twice, or a number is out of its bounds.
    pub fn build(mut self) -> Result<Worker, Error> {
        if self.queues.is_empty() {
            self.queues.push(("default".into(), PERMITS));
        }
        for (index, (name, permits)) in self.queues.iter().enumerate() {
            check_name("queue", name)?;
            range("permits of a queue", *permits, 1, PERMITS_MAX)?;
            if self.queues[..index].iter().any(|(known, _)| known == name) {
                return Err(Refusal::TwoQueues(name.clone()).into());
            }
        }
        let (least, most) = (Duration::from_millis(10), Duration::from_secs(300));
        if !(least..=most).contains(&self.rescue_every) {
            return Err(Refusal::Range {
                what: "the interval of rescues",
                is: format!("{:?}", self.rescue_every),
                least: format!("{least:?}"),
                most: format!("{most:?}"),
            }
            .into());
        }
        let mut kinds = HashMap::new();
        for kind in self.kinds {
            kind.check()?;
            let name = kind.name;
            if kinds.insert(name, Arc::new(kind)).is_some() {
                return Err(Refusal::TwoHandlers(name).into());
            }
        }
        if kinds.is_empty() {
            return Err(Refusal::NoKind.into());
        }
        let settings = Settings {
            queues: self.queues,
            kinds,
            version: self.version,
            rescue_every: self.rescue_every,
            retention: self.retention,
        };
        let queues = settings.queues.iter().map(|(name, _)| name.clone());
        Ok(Worker {
            jobs: self.jobs,
            tally: Tally::new(queues),
            settings: Arc::new(settings),
            node: self.node,
        })
    }
}

fn range(what: &'static str, is: usize, least: usize, most: usize) -> Result<(), Refusal> {
    if (least..=most).contains(&is) {
        return Ok(());
    }
    Err(Refusal::Range {
        what,
        is: is.to_string(),
        least: least.to_string(),
        most: most.to_string(),
    })
}

/// Runs jobs, once it is started.
///
/// # Examples
/// ```no_run
/// use serde::{Deserialize, Serialize};
/// use steadfast_core::{BoxError, Shutdown};
/// use steadfast_jobs::{Job, Jobs, Kind, Run, Worker};
/// # async fn example(jobs: Jobs, shutdown: Shutdown) -> Result<(), BoxError> {
///
/// #[derive(Serialize, Deserialize)]
/// struct SendReceipt {
///     order: u64,
/// }
///
/// impl Job for SendReceipt {
///     const KIND: &'static str = "send_receipt";
/// }
///
/// let worker = Worker::builder(&jobs)
///     .kind(Kind::new(async |_run: Run, receipt: SendReceipt| {
///         println!("sending the receipt of order {}", receipt.order);
///         Ok(())
///     }))
///     .build()?;
/// worker.run(&shutdown).await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a worker does nothing until it is started"]
pub struct Worker {
    jobs: Jobs,
    settings: Arc<Settings>,
    tally: Arc<Tally>,
    node: Membership,
}

impl Worker {
    /// Begins to describe a worker for the jobs of a store.
    pub fn builder(jobs: &Jobs) -> WorkerBuilder {
        WorkerBuilder {
            jobs: jobs.clone(),
            queues: Vec::new(),
            kinds: Vec::new(),
            version: 0,
            rescue_every: RESCUE_EVERY,
            retention: Retention::default(),
            node: Membership::Joins(NodeConfig::new("jobs", env!("CARGO_PKG_VERSION"))),
        }
    }

    /// Gives the jobs that it works on.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Listens to what happens to the jobs of this worker, from now on. A listener that is more
    /// than [`EVENTS_BEHIND_MAX`](crate::EVENTS_BEHIND_MAX) behind misses the oldest.
    pub fn events(&self) -> broadcast::Receiver<JobEvent> {
        self.tally.listen()
    }

    /// Works until the process goes down, by SIGTERM or otherwise: from the phase *stop accepting* on
    /// nothing is claimed and what was not started is handed back; handlers may end, and the node beats
    /// on meanwhile, so that nobody takes their jobs; when the time to drain is up, or a second signal
    /// comes, they are cancelled with [`Cause::Shutdown`], and their jobs are handed back, too. None of
    /// this spends an attempt. Ends that are on their way to the store are told before this returns.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropped half-way, it ends as if it had been told to, in the background.
    pub async fn run(self, shutdown: &Shutdown) {
        let work = shutdown.in_flight(Tier::DEFAULT);
        let running = self.start();
        let Some(work) = work else {
            running.stop(Duration::ZERO).await;
            return;
        };
        shutdown.stop_accepting().cancelled().await;
        running.drain.cancel(Cause::Shutdown);
        let over = work.token();
        let stop = running.stop.clone();
        tokio::pin! {
            let ended = running.ended();
        }
        tokio::select! {
            () = &mut ended => return,
            _ = over.cancelled() => {
                stop.cancel(Cause::Shutdown);
            }
        }
        ended.await;
    }

    /// Starts to work, in tasks of its own.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(self) -> Running {
        // A process with that many sources has no use for this one.
        let _ = report::register("jobs", &self.tally);
        let (drain, stop) = (Cancel::new(), Cancel::new());
        let tally = self.tally.clone();
        let task = spawn("jobs", self.work(drain.clone(), stop.clone()));
        Running {
            drain,
            stop,
            tally,
            task: Some(task),
        }
    }

    /// Joins the nodes of the store, and works until it is told to end.
    async fn work(self, drain: Cancel, stop: Cancel) {
        let node = match &self.node {
            Membership::Given(node) => node.clone(),
            Membership::Joins(config) => match self.join(config, &drain).await {
                Some(node) => node,
                None => return,
            },
        };
        // Runs may outlive the life in which they began: their ends come here in any case.
        let (to, mut from) = mpsc::unbounded_channel();
        let mut ends = Ends {
            to,
            from: &mut from,
            legacy: Legacy::default(),
            beyond: Cancel::new(),
        };
        let mut failures: u32 = 0;
        loop {
            // A lease that is lost while it drains leaves ends that the store is still to be told of.
            let over = if ends.legacy.owes() { &stop } else { &drain };
            if over.is_cancelled() {
                break;
            }
            let life = tokio::select! {
                life = node.alive() => life,
                _ = over.cancelled() => None,
            };
            let Some(life) = life else {
                break;
            };
            match self.live(&node, life, &mut ends, &drain, &stop).await {
                Some(Exit::Drained) => break,
                Some(Exit::LeaseLost) => failures = failures.max(1),
                // It panicked, which was reported when it happened.
                None => failures = failures.saturating_add(1),
            }
            let over = if ends.legacy.owes() { &stop } else { &drain };
            pause(failures, over).await;
        }
        // Nobody looks after them any more.
        ends.beyond.cancel(Cause::Shutdown);
        if matches!(self.node, Membership::Joins(_)) {
            node.leave().await;
        }
    }

    /// Joins, however often that takes; `None` when the worker was told to end first.
    async fn join(&self, config: &NodeConfig, drain: &Cancel) -> Option<Node> {
        let mut failures: u32 = 0;
        loop {
            match self.jobs.store().join(config.clone()).await {
                Ok(node) => return Some(node),
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::error!(
                        target: "steadfast::jobs",
                        failures,
                        %error,
                        "the worker cannot join the nodes of its store, and tries again"
                    );
                    pause(failures, drain).await;
                }
            }
            if drain.is_cancelled() {
                return None;
            }
        }
    }

    /// Works for one life; `None` when the engine panicked.
    async fn live(
        &self,
        node: &Node,
        life: Incarnation,
        ends: &mut Ends<'_>,
        drain: &Cancel,
        stop: &Cancel,
    ) -> Option<Exit> {
        let lost = life.cancel().child();
        let (orders, obeyed) = mpsc::unbounded_channel();
        let engine = Engine::new(
            self.settings.clone(),
            self.jobs.clone(),
            self.tally.clone(),
            life.id(),
            (lost.clone(), ends.beyond.clone()),
            (ends.to.clone(), std::mem::take(&mut ends.legacy)),
        );
        let upkeep = upkeep::Upkeep::new(
            self.settings.clone(),
            self.jobs.clone(),
            self.tally.clone(),
            node.clone(),
            life.id(),
            orders,
        );
        let over = Cancel::new();
        let until = over.clone();
        let upkeep = spawn("jobs upkeep", async move {
            tokio::select! {
                _ = until.cancelled() => {}
                () = upkeep.run() => {}
            }
        });
        let run = engine.run(&mut *ends.from, obeyed, drain.clone(), stop.clone());
        let exit = recover_async(run).await;
        // Told and not aborted, which would be reported as a task that was lost.
        over.cancel(Cause::Shutdown);
        // A panic of it has been reported when it happened.
        let _ = upkeep.await;
        // Whatever still runs has no owner any more.
        lost.cancel(Cause::LeaseLost);
        let (exit, legacy) = exit.ok()?;
        ends.legacy = legacy;
        Some(exit)
    }
}

/// What goes on from one life of a worker to the next.
struct Ends<'a> {
    to: mpsc::UnboundedSender<Finished>,
    from: &'a mut mpsc::UnboundedReceiver<Finished>,
    legacy: Legacy,
    /// The token of runs that go on after their lease is lost.
    beyond: Cancel,
}

/// The first and the longest wait before another life, or another try to join: up to 200 ms, doubling up to 5 s, at
/// random, so that a fleet that has found its database away does not come back in step.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// Waits before the next try; not once it is told to end.
async fn pause(failures: u32, drain: &Cancel) {
    let backoff = Backoff::new(PAUSE_FIRST, PAUSE_LONGEST).expect("constants within the bounds");
    let wait = backoff.delay(failures, rng::bits());
    let _ = clock::timeout(wait, drain.cancelled()).await;
}

/// A worker at work.
///
/// Dropping it ends the worker in the background, as [`stop`](Self::stop) without a limit does.
pub struct Running {
    drain: Cancel,
    stop: Cancel,
    tally: Arc<Tally>,
    task: Option<Task<()>>,
}

impl Running {
    /// Ends the worker: claims nothing more, hands back what was not started, lets handlers end
    /// within `limit`, then cancels them and hands their jobs back, too.
    ///
    /// Ends whose rows somebody keeps locked for longer than half a second after that, such as a transaction that hangs, are
    /// left to their lease: those jobs are rescued as from a node that died, which counts as a crash. Where the node was
    /// [given](WorkerBuilder::node) and lives on, nobody takes it for dead: they are rescued as what its holder has lost sight of,
    /// after the longest time for which they may run, twice, and some minutes.
    ///
    /// # Cancel safety
    /// Dropped half-way, it goes on in the background.
    pub async fn stop(self, limit: Duration) {
        self.drain.cancel(Cause::Shutdown);
        let stop = self.stop.clone();
        let ended = self.ended();
        tokio::pin!(ended);
        if clock::timeout(limit, &mut ended).await.is_err() {
            stop.cancel(Cause::Shutdown);
            ended.await;
        }
    }

    /// Listens to what happens to the jobs of this worker, from now on. A listener that is more
    /// than [`EVENTS_BEHIND_MAX`](crate::EVENTS_BEHIND_MAX) behind misses the oldest.
    pub fn events(&self) -> broadcast::Receiver<JobEvent> {
        self.tally.listen()
    }

    /// Tells how many jobs this worker has completed.
    pub fn completed(&self) -> u64 {
        self.tally.count(What::Completed.index())
    }

    async fn ended(mut self) {
        if let Some(task) = self.task.take() {
            // A panic has been reported when it happened.
            let _ = task.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.drain.cancel(Cause::Shutdown);
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}
