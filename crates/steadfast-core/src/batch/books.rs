use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::receipt::Reason;
use super::sink::Kind;
use crate::clock::{self, Instant};
use crate::context::Name;
use crate::decide::batch::{Constraint, Lag, Pressure};
use crate::report::{Collector, MetricDoc, Source};

/// The sizes that transactions are told apart by, and their labels: up to so many rows, the last for all above.
const SIZES: [(u64, &str); 8] = [
    (1, "1"),
    (10, "10"),
    (50, "50"),
    (100, "100"),
    (200, "200"),
    (500, "500"),
    (1_000, "1000"),
    (u64::MAX, "more"),
];

/// What the transactions of about one size have come to: the table of what a size costs, of what is really written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SizeStats {
    /// How many rows they had at most; more than in the line before. [`u64::MAX`] for all above.
    pub up_to: u64,
    /// How many were committed.
    pub batches: u64,
    /// How many rows those had.
    pub rows: u64,
    /// How long they took, added up.
    pub writing: Duration,
}

/// What a writer has done, all of it seen at the same moment:
/// `offered = written + dead + rejected() + queued + left`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BatchStats {
    /// The name from the config.
    pub name: Name,
    /// Whether it takes rows.
    pub is_open: bool,
    /// How many rows it was asked to write.
    pub offered: u64,
    /// How many are committed, those that were folded into others included.
    pub written: u64,
    /// How many were folded into another row of the same key.
    pub folded: u64,
    /// How many were given up because they cannot be written.
    pub dead: u64,
    /// How many were rejected because the queue was full.
    pub rejected_full: u64,
    /// How many were rejected because there was no room until their deadline.
    pub rejected_late: u64,
    /// How many were rejected because it was closed.
    pub rejected_closed: u64,
    /// How many wait, or are being written.
    pub queued: u64,
    /// How many were neither written nor given up when it ended.
    pub left: u64,
    /// How many transactions were committed.
    pub batches: u64,
    /// How many transactions failed: by a row, by a conflict, without an answer, because nothing can
    /// be written, and because they were too much.
    pub failed: [u64; 5],
    /// How long all that were committed took, added up.
    pub writing: Duration,
    /// The same by how many rows they had, the small ones first: 1, 10, 50, 100, 200, 500, 1,000, and more.
    pub sizes: [SizeStats; 8],
    /// How many rows the next batch may have.
    pub rows_limit: u32,
    /// What bounds that.
    pub constraint: Constraint,
    /// Whether nothing is written at the moment because of replicas: they are behind, or nothing is known of them.
    pub is_paused: bool,
    /// Whether rows wait because none could be written.
    pub is_broken: bool,
    /// For how long the sink has not been able to say whether a batch in doubt is written, if there is one: until then its
    /// rows wait, and all others.
    pub unsettled: Option<Duration>,
    /// How many waited for locks in the database at the last look, if that could tell.
    pub lock_waiters: Option<u32>,
    /// How far replicas were behind at the last look, if that could tell: at least so far, where one of them was before
    /// the first look already.
    pub replica_lag: Option<Duration>,
}

impl BatchStats {
    /// How many were rejected, for any reason.
    pub fn rejected(&self) -> u64 {
        self.rejected_full + self.rejected_late + self.rejected_closed
    }
}

/// The stats of one writer.
pub(super) struct Books {
    inner: Mutex<Inner>,
}

struct Inner {
    stats: BatchStats,
    unsettled_since: Option<Instant>,
    /// Nothing that is sent now would be read.
    is_ended: bool,
}

impl Books {
    pub(super) fn new(name: Name) -> Self {
        let stats = BatchStats {
            name,
            is_open: true,
            offered: 0,
            written: 0,
            folded: 0,
            dead: 0,
            rejected_full: 0,
            rejected_late: 0,
            rejected_closed: 0,
            queued: 0,
            left: 0,
            batches: 0,
            failed: [0; 5],
            writing: Duration::ZERO,
            sizes: SIZES.map(|(up_to, _)| SizeStats {
                up_to,
                ..SizeStats::default()
            }),
            rows_limit: 0,
            constraint: Constraint::default(),
            is_paused: false,
            is_broken: false,
            unsettled: None,
            lock_waiters: None,
            replica_lag: None,
        };
        Self {
            inner: Mutex::new(Inner {
                stats,
                unsettled_since: None,
                is_ended: false,
            }),
        }
    }

    pub(super) fn stats(&self) -> BatchStats {
        let inner = self.open();
        let unsettled = inner.unsettled_since.map(|since| clock::now() - since);
        BatchStats {
            unsettled,
            ..inner.stats.clone()
        }
    }

    /// Counts a row and sends it, unless the writer has ended, which gives it back: its receipt would never be answered.
    pub(super) fn accept<R>(&self, row: R, send: impl FnOnce(R)) -> Result<(), R> {
        let mut inner = self.open();
        if inner.is_ended {
            return Err(row);
        }
        inner.stats.offered += 1;
        inner.stats.queued += 1;
        // Still locked, so that the end comes before or after all of it.
        send(row);
        Ok(())
    }

    pub(super) fn rejected(&self, reason: Reason) {
        let stats = &mut self.open().stats;
        stats.offered += 1;
        match reason {
            Reason::Full => stats.rejected_full += 1,
            Reason::Late => stats.rejected_late += 1,
            Reason::Closed => stats.rejected_closed += 1,
        }
    }

    pub(super) fn closed(&self) {
        self.open().stats.is_open = false;
    }

    /// Notes a transaction that was committed, for so many rows.
    pub(super) fn written(&self, rows: u64, folded: u64, took: Duration) {
        let stats = &mut self.open().stats;
        stats.queued -= rows;
        stats.written += rows;
        stats.folded += folded;
        stats.batches += 1;
        stats.writing += took;
        let sent = rows - folded;
        let size = stats.sizes.iter_mut().find(|size| sent <= size.up_to);
        if let Some(size) = size {
            size.batches += 1;
            size.rows += sent;
            size.writing += took;
        }
    }

    pub(super) fn failed(&self, kind: Kind) {
        self.open().stats.failed[kind as usize] += 1;
    }

    pub(super) fn dead(&self, rows: u64) {
        let stats = &mut self.open().stats;
        stats.queued -= rows;
        stats.dead += rows;
    }

    pub(super) fn next(&self, rows_limit: u32, constraint: Constraint) {
        let stats = &mut self.open().stats;
        stats.rows_limit = rows_limit;
        stats.constraint = constraint;
    }

    pub(super) fn paused(&self, is_paused: bool) {
        self.open().stats.is_paused = is_paused;
    }

    pub(super) fn broken(&self, is_broken: bool) {
        self.open().stats.is_broken = is_broken;
    }

    pub(super) fn unsettled(&self, since: Option<Instant>) {
        self.open().unsettled_since = since;
    }

    pub(super) fn looked(&self, pressure: Pressure) {
        let mut inner = self.open();
        if inner.is_ended {
            return;
        }
        let stats = &mut inner.stats;
        stats.lock_waiters = pressure.lock_waiters;
        stats.replica_lag = match pressure.lag {
            Lag::Known(lag) | Lag::AtLeast(lag) => Some(lag),
            Lag::Unknown => None,
        };
    }

    /// Ends the books: what is queued now is left. Returns the last stats.
    pub(super) fn end(&self) -> BatchStats {
        let mut inner = self.open();
        inner.is_ended = true;
        inner.unsettled_since = None;
        let stats = &mut inner.stats;
        stats.is_open = false;
        stats.is_paused = false;
        stats.is_broken = false;
        // Nobody looks any more.
        stats.lock_waiters = None;
        stats.replica_lag = None;
        stats.left += std::mem::take(&mut stats.queued);
        stats.clone()
    }

    fn open(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_batch_open",
        &["batch"],
        "1 while the writer takes rows, 0 once it drains.",
    ),
    MetricDoc::counter(
        "steadfast_batch_offered_total",
        &["batch"],
        "Rows that it was asked to write.",
    ),
    MetricDoc::counter(
        "steadfast_batch_rows_total",
        &["batch", "outcome"],
        "Rows that ended: written, dead or left.",
    ),
    MetricDoc::counter(
        "steadfast_batch_folded_total",
        &["batch"],
        "Rows that were folded into another of their key.",
    ),
    MetricDoc::counter(
        "steadfast_batch_rejected_total",
        &["batch", "reason"],
        "Rows that were not taken: the queue was full, the deadline came, or the writer was closed.",
    ),
    MetricDoc::counter(
        "steadfast_batch_commits_total",
        &["batch"],
        "Transactions that were committed.",
    ),
    MetricDoc::counter(
        "steadfast_batch_commit_seconds_total",
        &["batch"],
        "How long those took, added up.",
    ),
    MetricDoc::counter(
        "steadfast_batch_size_commits_total",
        &["batch", "rows"],
        "Transactions that were committed, by how many rows they had at most: 1, 10, 50, 100, 200, 500, 1000, or more.",
    ),
    MetricDoc::counter(
        "steadfast_batch_size_rows_total",
        &["batch", "rows"],
        "Rows of those.",
    ),
    MetricDoc::counter(
        "steadfast_batch_size_seconds_total",
        &["batch", "rows"],
        "How long those took, added up.",
    ),
    MetricDoc::counter(
        "steadfast_batch_failed_total",
        &["batch", "reason"],
        "Transactions that failed: a row, a conflict, nobody there, nothing can be written, or too much at once.",
    ),
    MetricDoc::gauge(
        "steadfast_batch_queued",
        &["batch"],
        "Rows that wait or are being written.",
    ),
    MetricDoc::gauge(
        "steadfast_batch_rows_limit",
        &["batch"],
        "Rows that the next batch may have.",
    ),
    MetricDoc::gauge(
        "steadfast_batch_bound",
        &["batch", "constraint"],
        "1 for what bounds the size of batches, 0 for all else.",
    ),
    MetricDoc::gauge(
        "steadfast_batch_paused",
        &["batch"],
        "1 while nothing is written because replicas are behind, or nothing is known of them.",
    ),
    MetricDoc::gauge(
        "steadfast_batch_broken",
        &["batch"],
        "1 while rows wait because none could be written.",
    ),
    MetricDoc::gauge(
        "steadfast_batch_unsettled_seconds",
        &["batch"],
        "For how long rows have waited because nobody can say whether a batch is written; 0 while none is in such doubt.",
    ),
    MetricDoc::gauge(
        "steadfast_batch_lock_waiters",
        &["batch"],
        "Connections that waited for locks in the database at the last look; absent when that could not tell.",
    ),
    MetricDoc::gauge(
        "steadfast_batch_replica_lag_seconds",
        &["batch"],
        "How far replicas were behind at the last look, at least; absent when that could not tell.",
    ),
];

impl Source for Books {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut Collector) {
        let stats = self.stats();
        let batch = ("batch", stats.name);
        to.labels([batch])
            .armed("steadfast_batch_open", stats.is_open)
            .counter("steadfast_batch_offered_total", stats.offered)
            .counter("steadfast_batch_folded_total", stats.folded)
            .counter("steadfast_batch_commits_total", stats.batches)
            .sum(
                "steadfast_batch_commit_seconds_total",
                stats.writing.as_secs_f64(),
            )
            .gauge("steadfast_batch_queued", stats.queued as f64)
            .gauge("steadfast_batch_rows_limit", f64::from(stats.rows_limit))
            .gauge(
                "steadfast_batch_paused",
                f64::from(u8::from(stats.is_paused)),
            )
            .gauge(
                "steadfast_batch_broken",
                f64::from(u8::from(stats.is_broken)),
            )
            .gauge(
                "steadfast_batch_unsettled_seconds",
                stats.unsettled.unwrap_or_default().as_secs_f64(),
            );
        if let Some(waiters) = stats.lock_waiters {
            to.labels([batch])
                .gauge("steadfast_batch_lock_waiters", f64::from(waiters));
        }
        if let Some(lag) = stats.replica_lag {
            to.labels([batch])
                .gauge("steadfast_batch_replica_lag_seconds", lag.as_secs_f64());
        }
        for (outcome, count) in [
            ("written", stats.written),
            ("dead", stats.dead),
            ("left", stats.left),
        ] {
            to.labels([batch, ("outcome", outcome.into())])
                .counter("steadfast_batch_rows_total", count);
        }
        let rejected = [
            stats.rejected_full,
            stats.rejected_late,
            stats.rejected_closed,
        ];
        for (reason, count) in Reason::ALL.into_iter().zip(rejected) {
            to.labels([batch, ("reason", reason.as_str().into())])
                .counter("steadfast_batch_rejected_total", count);
        }
        for (kind, count) in Kind::ALL.into_iter().zip(stats.failed) {
            to.labels([batch, ("reason", kind.as_str().into())])
                .counter("steadfast_batch_failed_total", count);
        }
        for ((_, rows), size) in SIZES.into_iter().zip(stats.sizes) {
            to.labels([batch, ("rows", rows.into())])
                .counter("steadfast_batch_size_commits_total", size.batches)
                .counter("steadfast_batch_size_rows_total", size.rows)
                .sum(
                    "steadfast_batch_size_seconds_total",
                    size.writing.as_secs_f64(),
                );
        }
        for constraint in Constraint::ALL {
            let bounds = stats.constraint == constraint;
            to.labels([batch, ("constraint", constraint.as_str().into())])
                .gauge("steadfast_batch_bound", f64::from(u8::from(bounds)));
        }
    }
}
