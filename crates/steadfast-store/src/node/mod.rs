//! Who is alive: processes that register, beat, and stop before others take over their work.
//!
//! # The problem
//! Work that was taken by a process that died must be given to others, and soon; work of a process
//! that is only slow must not, or it runs twice. From outside both look the same.
//!
//! # Why the usual answers fail
//! A timestamp that the worker writes is judged by clocks that differ. A beat from a task says that
//! *a task* runs, and one from a thread says so of a process whose tasks all hang. A process that was
//! stopped for a minute goes on where it was, and finishes what others have long begun.
//!
//! # The tool
//! Each life of a process is a row, an *incarnation*, with a lease of 30 s that is renewed every
//! 10 s and judged by one clock: that of the database, or for SQLite that of the host since its
//! start.
//! - A lease that is over is never renewed: the process registers anew, with another id. Ids are
//!   never given twice.
//! - Beats come from a thread, a runtime and (on PostgreSQL) a connection of their own, which load
//!   cannot take away; on SQLite they go to the head of the queue. They stop when the runtime that
//!   joined does not answer: who cannot work must not look alive.
//! - A process that cannot renew its lease stops by itself a margin before it ends, counted on its own
//!   monotonic clock from *before* the last beat that succeeded: everything under
//!   [`Incarnation::cancel`] is cancelled with [`Cause::LeaseLost`]. The time for which the host sleeps
//!   counts; what nobody inside can see is a virtual machine whose clocks were all stopped with it.
//! - A panic of the thread that beats is an end like any other: the life is over, and another one begins.
//! - On one host nobody waits for a lease: each process keeps a file locked, which the system lets go
//!   of when it dies, and the others look at it twice a second.
//!
//! Whoever is dead is *ended*: its row says when ([`Node::end_expired`] and the files find them).
//! That mark is what other packages look at. It says that this life takes no beat any more, and not
//! that its last statement has arrived: writes still need their own fence.

pub(crate) mod host;
mod keeper;
mod list;
mod slow;

pub use list::{NODES_MAX, NodeInfo};

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast_core::cancel::{Cancel, Cause};
use steadfast_core::clock;
use steadfast_core::decide::vigil::Timing;
use steadfast_core::report::{self, Collector, EventDoc, MetricDoc, Source};
use tokio::sync::{Notify, watch};

use crate::config::config;
use crate::lane::Lane;
use crate::schema::NODE_END_EXPIRED;
use crate::{Binds, Error, Rows, Store, binds};
use slow::Slow;

/// How long rows of lives that ended are kept, so that people can see them: 7 days.
const ENDED_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_node_alive",
        &[],
        "Whether this process may rely on its lease in the store.",
    ),
    MetricDoc::gauge(
        "steadfast_node_lease_left_seconds",
        &[],
        "For how long it may, without another beat.",
    ),
    MetricDoc::counter(
        "steadfast_node_beats_total",
        &[],
        "Beats that reached the database.",
    ),
    MetricDoc::counter(
        "steadfast_node_beat_failures_total",
        &[],
        "Beats that did not, or were held back because the runtime did not answer.",
    ),
    MetricDoc::counter(
        "steadfast_node_lives_total",
        &[],
        "How often this process registered; more than once means that leases were lost.",
    ),
];

pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new("steadfast::store", &["info"], "node joined", &["node"])
        .when("This process registered a new life.")
        .action("Nothing."),
    EventDoc::new("steadfast::store", &["warn"], "no beat", &["error", "failures"])
        .when("A beat did not reach the database, or was held back; it is tried again until the lease is over, and then a new one is asked for. Told at the first, and each minute with how many there were since.")
        .action("See the error: the database is out of reach or slow, or the runtime hangs."),
    EventDoc::new(
        "steadfast::store",
        &["warn"],
        "the lease is over; joining anew",
        &["node"],
    )
    .when("The database refused a beat: this process was away for longer than its lease. Its work was cancelled.")
    .action("Find out what stopped it: a paused machine, a hanging runtime, a database out of reach."),
    EventDoc::new("steadfast::store", &["error"], "what beats has panicked; joining anew", &["panic"])
        .when("The thread that beats has panicked. The work of this life was cancelled, and another one begins.")
        .action("Report it with the panic: it is a mistake of steadfast."),
    EventDoc::new(
        "steadfast::store",
        &["warn"],
        "a process on this host has died",
        &["node"],
    )
    .when("The file that another process keeps locked was free: it is dead, and its work can be taken over.")
    .action("Find out why it died; its work goes on elsewhere."),
    EventDoc::new("steadfast::store", &["warn"], "a process that has died is not marked so", &["error", "node"])
        .when("A process that has died could not be marked so; others wait for its lease.")
        .action("See the error."),
    EventDoc::new(
        "steadfast::store",
        &["warn"],
        "no file to lock: when this process dies, others wait for its lease",
        &["error"],
    )
    .when("No file could be made beside the database, or where the system keeps what is gone with its next start.")
    .action("Give the process the right to make files there."),
];

/// What a process says about itself, and how it beats.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The name of the service.
    pub service: String,
    /// Its version, such as `env!("CARGO_PKG_VERSION")`.
    pub version: String,
    /// From one beat to the next: 10 s. 1,000 processes are 100 small updates a second.
    pub beat: Duration,
    /// How long others wait before they take over: 30 s, three beats, so that one may be lost and
    /// one be slow.
    pub lease: Duration,
    /// How long the runtime that joined may not answer before beats are held back: 5 s, half a beat.
    pub stall: Duration,
}

impl NodeConfig {
    /// The shortest beat: 10 ms, for tests.
    pub const BEAT_MIN: Duration = Duration::from_millis(10);

    /// The longest lease: an hour.
    pub const LEASE_MAX: Duration = Duration::from_secs(3_600);

    /// Describes a process with the usual times.
    pub fn new(service: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            version: version.into(),
            beat: Duration::from_secs(10),
            lease: Duration::from_secs(30),
            stall: Duration::from_secs(5),
        }
    }

    /// The same at another pace: a beat and half a beat of stall for each third of the lease.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self.beat = lease / 3;
        self.stall = lease / 6;
        self
    }

    /// How long before its end a process stops to rely on its lease: a tenth of it.
    pub fn margin(&self) -> Duration {
        self.lease / 10
    }

    fn timing(&self) -> Result<Timing, Error> {
        if self.beat < Self::BEAT_MIN {
            return Err(config("beat", "must be at least 10 ms"));
        }
        if self.lease > Self::LEASE_MAX {
            return Err(config("lease", "must be at most 1 h"));
        }
        if self.lease < self.beat * 2 + self.margin() {
            return Err(config(
                "lease",
                "must be at least two beats and a tenth of itself",
            ));
        }
        if self.stall.is_zero() || self.stall > self.lease {
            return Err(config("stall", "must be from 1 ns to the lease"));
        }
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Ok(Timing {
            renew: nanos(self.beat),
            lease: nanos(self.lease),
            margin: nanos(self.margin()),
            retry: nanos(self.beat / 10),
        })
    }
}

/// This process in the store; made by [`Store::join`]. Cheap to clone.
///
/// The life ends with [`leave`](Self::leave), or when the last clone is dropped.
#[derive(Clone)]
pub struct Node(Arc<Owner>);

struct Owner(Arc<Shared>);

pub(crate) struct Shared {
    store: Store,
    config: NodeConfig,
    lane: Lane,
    boot: String,
    current: watch::Sender<Option<Incarnation>>,
    deaths: watch::Sender<u64>,
    health: Mutex<Health>,
    leave: Notify,
    left: watch::Sender<bool>,
}

#[derive(Debug, Clone, Default)]
struct Health {
    beats: u64,
    failures: u64,
    lives: u64,
    last_failure: Option<(u64, String)>,
    /// By the clock of leases.
    slow: Slow,
    refused: Option<Error>,
}

impl Store {
    /// Registers this process, and has it beat until it [leaves](Node::leave). Gives it once the
    /// first beat is in the database.
    ///
    /// Call it on the runtime whose tasks do the work: when that one does not answer, beats are held
    /// back.
    ///
    /// # Errors
    /// When the config is out of range (SF-1114), or the database cannot be reached; later it is
    /// tried again for as long as the process lives.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropped half-way, the life ends.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// # use steadfast_store::{Config, Error, NodeConfig, Store};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Error> {
    /// # let folder = std::env::temp_dir().join(format!("node-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder).unwrap();
    /// # let store = Store::open(Config::sqlite(folder.join("shop.db"))).await?;
    /// let node = store.join(NodeConfig::new("shop", "1.2.0")).await?;
    ///
    /// let life = node.incarnation().expect("it has just begun");
    /// let work = life.cancel().child();    // cancelled with `LeaseLost` when this life is over
    /// assert!(life.is_held() && !work.is_cancelled());
    ///
    /// node.leave().await;
    /// assert!(work.is_cancelled());
    /// # store.close().await;
    /// # std::fs::remove_dir_all(folder).unwrap();
    /// # Ok(()) } main().unwrap(); }
    /// ```
    pub async fn join(&self, config: NodeConfig) -> Result<Node, Error> {
        let timing = config.timing()?;
        let shared = Arc::new(Shared {
            store: self.clone(),
            config,
            lane: self.urgent_lane(),
            boot: host::boot(),
            current: watch::Sender::new(None),
            deaths: watch::Sender::new(0),
            health: Mutex::default(),
            leave: Notify::new(),
            left: watch::Sender::new(false),
        });
        let node = Node(Arc::new(Owner(shared.clone())));
        // One too many to be seen is no reason not to work.
        let _ = report::register("node", &shared);
        keeper::start(shared, timing).await?;
        Ok(node)
    }
}

impl Node {
    /// Gives the present life, if the process may rely on its lease right now.
    pub fn incarnation(&self) -> Option<Incarnation> {
        let current = self.shared().current.borrow();
        current.clone().filter(Incarnation::is_held)
    }

    /// Waits until there is a life to rely on; `None` once the node has left.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn alive(&self) -> Option<Incarnation> {
        let mut current = self.shared().current.subscribe();
        let mut left = self.shared().left.subscribe();
        loop {
            if let Some(life) = self.incarnation() {
                return Some(life);
            }
            if *left.borrow() {
                return None;
            }
            tokio::select! {
                changed = current.changed() => changed.ok()?,
                changed = left.changed() => changed.ok()?,
            }
        }
    }

    /// Ends the lives whose lease is over, of all processes on this store, and gives their ids. Any
    /// number of nodes may do so at once; each life is told to one of them.
    ///
    /// # Errors
    /// When the database cannot be asked.
    ///
    /// # Cancel safety
    /// Dropped half-way, some may have been ended that nobody is told of: look at the rows.
    pub async fn end_expired(&self) -> Result<Vec<i64>, Error> {
        let shared = self.shared();
        let ended = shared.store.run(&NODE_END_EXPIRED, shared.expired());
        shared.tell_ended(&ended.await?)
    }

    /// The same by a lane, for a part that must not wait for connections that others have.
    ///
    /// # Errors
    /// As [`end_expired`](Self::end_expired).
    ///
    /// # Cancel safety
    /// As [`end_expired`](Self::end_expired).
    pub async fn end_expired_by(&self, lane: &Lane) -> Result<Vec<i64>, Error> {
        let shared = self.shared();
        let ended = lane.run(&NODE_END_EXPIRED, shared.expired());
        shared.tell_ended(&ended.await?)
    }

    /// Waits until this process has ended the life of another one, by its file or by its lease:
    /// there may be work of it to take over. It counts from the call on, not from when it is first polled.
    ///
    /// # Cancel safety
    /// A death while nobody has called it is not told: look at the rows from time to time.
    pub fn death(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut deaths = self.shared().deaths.subscribe();
        async move {
            let _ = deaths.changed().await;
        }
    }

    /// Gives the config it beats by.
    pub fn config(&self) -> &NodeConfig {
        &self.shared().config
    }

    /// Tells how it went so far.
    pub fn health(&self) -> NodeHealth {
        let health = self.shared().health().clone();
        let ago = |at: u64| Duration::from_nanos(clock::nanos().saturating_sub(at));
        let now = clock::lease_nanos();
        let slow_at = health.slow.at(now, self.shared().margin_ns());
        NodeHealth {
            alive: self.incarnation().is_some(),
            beats: health.beats,
            failures: health.failures,
            lives: health.lives,
            last_failure: health.last_failure.map(|(at, why)| (ago(at), why)),
            last_slow_beat: slow_at.map(|at| Duration::from_nanos(now.saturating_sub(at))),
            refused: health.refused,
        }
    }

    /// Ends this life in order: nothing may rely on it any more, and others need not wait for its
    /// lease. Waits until the database has been told, at most for the time of a statement.
    ///
    /// # Cancel safety
    /// Dropped half-way, the life ends all the same.
    pub async fn leave(&self) {
        let mut left = self.shared().left.subscribe();
        self.shared().leave.notify_one();
        let _ = left.wait_for(|left| *left).await;
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("service", &self.config().service)
            .field("incarnation", &self.incarnation())
            .finish_non_exhaustive()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.leave.notify_one();
    }
}

impl Source for Shared {
    fn collect(&self, to: &mut Collector) {
        let life = self.current.borrow().clone();
        let left = life.map_or(Duration::ZERO, |life| life.left());
        let health = self.health().clone();
        to.gauge("steadfast_node_alive", f64::from(u8::from(!left.is_zero())));
        to.gauge("steadfast_node_lease_left_seconds", left.as_secs_f64());
        to.counter("steadfast_node_beats_total", health.beats);
        to.counter("steadfast_node_beat_failures_total", health.failures);
        to.counter("steadfast_node_lives_total", health.lives);
    }

    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }
}

impl Shared {
    fn note_beat_ended(&self) {
        let margin = self.margin_ns();
        self.health().slow.end(clock::lease_nanos(), margin);
    }

    fn margin_ns(&self) -> u64 {
        self.config.margin().as_nanos() as u64
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock_us(&self) -> Option<i64> {
        host::clock_us(self.store.dialect())
    }

    /// Gives what the lives whose lease is over are found by.
    fn expired(&self) -> Binds {
        let kept = i64::try_from(ENDED_KEPT.as_micros()).unwrap_or(i64::MAX);
        binds![self.clock_us(), self.boot.as_str(), kept]
    }

    fn tell_ended(&self, rows: &Rows) -> Result<Vec<i64>, Error> {
        let ended: Vec<i64> = rows
            .iter()
            .map(|row| row.get(0))
            .collect::<Result<_, _>>()?;
        self.tell_deaths(ended.len());
        Ok(ended)
    }

    fn tell_deaths(&self, deaths: usize) {
        if deaths > 0 {
            self.deaths.send_modify(|told| *told += deaths as u64);
        }
    }
}

/// One life of a process, from its registration to its end.
#[derive(Clone)]
pub struct Incarnation {
    id: i64,
    /// Until when it can be relied on, as [`clock::lease_nanos`] counts.
    fence_at: Arc<AtomicU64>,
    cancel: Cancel,
}

impl Incarnation {
    fn new(id: i64, fence_at: u64) -> Self {
        Self {
            id,
            fence_at: Arc::new(AtomicU64::new(fence_at)),
            cancel: Cancel::new(),
        }
    }

    /// Gives the id, which no other life ever has.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Tells whether the process may rely on its lease at this moment. True to the moment also
    /// after the process was stopped or the host slept, when nothing has been cancelled yet.
    pub fn is_held(&self) -> bool {
        !self.left().is_zero()
    }

    /// Tells for how long the process may rely on its lease without another beat.
    pub fn left(&self) -> Duration {
        if self.cancel.is_cancelled() {
            return Duration::ZERO;
        }
        let fence_at = self.fence_at.load(Ordering::Acquire);
        Duration::from_nanos(fence_at.saturating_sub(clock::lease_nanos()))
    }

    /// Gives the token that is cancelled when this life is over: with [`Cause::LeaseLost`] when it
    /// was lost, with [`Cause::Shutdown`] when the process left in order.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    fn renewed(&self, fence_at: u64) {
        self.fence_at.store(fence_at, Ordering::Release);
    }

    fn over(&self, cause: Cause) {
        self.fence_at.store(0, Ordering::Release);
        self.cancel.cancel(cause);
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incarnation")
            .field("id", &self.id)
            .field("left", &self.left())
            .finish()
    }
}

/// How a node has fared; made by [`Node::health`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeHealth {
    /// Whether there is a life to rely on.
    pub alive: bool,
    /// How many beats reached the database.
    pub beats: u64,
    /// How many did not, or were held back.
    pub failures: u64,
    /// How many lives there were: one, unless leases were lost.
    pub lives: u64,
    /// How long ago the last failure was, and why.
    pub last_failure: Option<(Duration, String)>,
    /// How long ago a beat took longer than the [margin](NodeConfig::margin); zero while one does.
    pub last_slow_beat: Option<Duration>,
    /// Why this program must not run any more: the database is newer than it.
    pub refused: Option<Error>,
}
