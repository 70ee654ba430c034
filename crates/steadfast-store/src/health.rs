//! How the store is, at this moment.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use steadfast_core::clock;
use steadfast_core::report::{Collector, MetricDoc, Source};

use crate::pool::{HOLDERS_TOLD, Manage, Pool};
use crate::store::Inner;
use crate::{Dialect, Error, Pooler, Store, binds};

/// How the store is; made by [`Store::health`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Health {
    /// How long a small read took, or why it failed.
    pub answer: Result<Duration, Error>,
    /// Connections of the pool, or readers of SQLite, that are in use.
    pub held: usize,
    /// How many there may be.
    pub size: usize,
    /// Who holds them, the longest first, at most 8.
    pub holders: Vec<String>,
    /// What waits for the writer of SQLite.
    pub queued: usize,
    /// Who has the writer of SQLite, and for how long.
    pub writer: Option<String>,
}

impl Health {
    /// Tells whether the database answers.
    pub fn is_up(&self) -> bool {
        self.answer.is_ok()
    }
}

/// One line, for people.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.answer {
            Ok(took) => write!(f, "up, answers in {took:.1?}")?,
            Err(error) => write!(f, "down: {error}")?,
        }
        write!(f, "; {} of {} connections in use", self.held, self.size)?;
        if !self.holders.is_empty() {
            write!(f, " ({})", self.holders.join(", "))?;
        }
        if self.queued > 0 {
            write!(f, "; {} waiting to write", self.queued)?;
        }
        if let Some(writer) = &self.writer {
            write!(f, "; {writer} writes")?;
        }
        Ok(())
    }
}

/// What the database at hand can do; made by [`Store::capabilities`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether wake-ups of other processes are pushed. Else they are found by polling.
    pub pushed_wakes: bool,
    /// Whether several transactions write at once, so that rows are locked one by one.
    pub concurrent_writers: bool,
    /// Whether processes on several hosts can share it.
    pub many_hosts: bool,
    /// Whether an intent is a single round trip.
    pub single_round_trip: bool,
}

impl Store {
    /// Asks the database whether it answers, and tells who has what.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn health(&self) -> Health {
        let start = clock::now();
        let asked = self
            .read(async |mut tx| tx.sql("SELECT 1", binds![]).await)
            .await;
        let answer = asked.map(|_| clock::now().duration_since(start));
        let usage = self.inner().usage();
        Health {
            answer,
            held: usage.held,
            size: usage.size,
            holders: usage.holders,
            queued: usage.queued,
            writer: usage.writer,
        }
    }

    /// Tells what the database at hand can do.
    pub fn capabilities(&self) -> Capabilities {
        let postgres = self.dialect() == Dialect::Postgres;
        let direct = postgres && self.config().pooler == Pooler::None;
        Capabilities {
            pushed_wakes: direct,
            concurrent_writers: postgres,
            many_hosts: postgres,
            single_round_trip: direct,
        }
    }
}

/// Who has what.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub(crate) held: usize,
    pub(crate) size: usize,
    pub(crate) holders: Vec<String>,
    pub(crate) queued: usize,
    pub(crate) writer: Option<String>,
    /// How often somebody waited in vain.
    pub(crate) refused: u64,
    /// How many connections were made, and how many were thrown away.
    pub(crate) made: u64,
    pub(crate) broken: u64,
}

impl Usage {
    /// Tells who has connections of a pool.
    pub(crate) fn of<M: Manage>(pool: &Pool<M>) -> Self {
        let holders = pool.holders();
        let counts = pool.counts();
        Self {
            held: holders.len(),
            size: pool.size(),
            // They entered in order, so the first are those that hold for longest.
            holders: holders
                .iter()
                .take(HOLDERS_TOLD)
                .map(ToString::to_string)
                .collect(),
            refused: counts.refused,
            made: counts.made,
            broken: counts.broken,
            ..Self::default()
        }
    }
}

/// Tells [`report`](mod@steadfast_core::report) about a store.
#[derive(Default)]
pub(crate) struct Reporter(OnceLock<Weak<Inner>>);

impl Reporter {
    pub(crate) fn of(&self, store: &Arc<Inner>) {
        let _ = self.0.set(Arc::downgrade(store));
    }
}

impl Source for Reporter {
    fn collect(&self, to: &mut Collector) {
        let Some(store) = self.0.get().and_then(Weak::upgrade) else {
            return;
        };
        let usage = store.usage();
        to.gauge("steadfast_store_connections_held", usage.held as f64);
        to.gauge("steadfast_store_connections_max", usage.size as f64);
        to.gauge("steadfast_store_writes_queued", usage.queued as f64);
        to.counter("steadfast_store_acquire_timeouts_total", usage.refused);
        to.counter("steadfast_store_connections_made_total", usage.made);
        to.counter("steadfast_store_connections_broken_total", usage.broken);
    }

    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }
}

/// What a store tells about itself. Several stores of one process tell apart by their order only.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_store_connections_held",
        &[],
        "Connections to the database, or readers of its file, that are in use.",
    ),
    MetricDoc::gauge(
        "steadfast_store_connections_max",
        &[],
        "How many of them there may be.",
    ),
    MetricDoc::gauge(
        "steadfast_store_writes_queued",
        &[],
        "Intents and transactions that wait for the writer of SQLite.",
    ),
    MetricDoc::counter(
        "steadfast_store_acquire_timeouts_total",
        &[],
        "How often a connection was waited for in vain.",
    ),
    MetricDoc::counter(
        "steadfast_store_connections_made_total",
        &[],
        "Connections that were made.",
    ),
    MetricDoc::counter(
        "steadfast_store_connections_broken_total",
        &[],
        "Connections that were thrown away, because they were lost or left in mid statement.",
    ),
];
