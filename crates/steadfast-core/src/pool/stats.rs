use std::time::Duration;

use super::crew::Running;
use super::shared::Shared;
use crate::clock;
use crate::context::{Name, Tier, TraceId};
use crate::report::{Collector, MetricDoc, Source};

/// What a pool does at one moment, all of it seen at the same time.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PoolStats {
    /// The name from the config.
    pub name: Name,
    /// Whether it accepts tasks.
    pub is_open: bool,
    /// How many workers there are; while it is being made smaller more than `workers_target`,
    /// until the surplus have ended their tasks.
    pub workers: usize,
    /// How many workers there shall be.
    pub workers_target: usize,
    /// How many tasks are running.
    pub in_flight: usize,
    /// The task that has been running for the longest time: one that never returns shows here,
    /// and grows.
    pub longest: Option<RunningTask>,
    /// How many tasks returned a value.
    pub completed: u64,
    /// How many tasks returned an error; told apart where the pool is used as
    /// [`fallible`](super::Pool::fallible).
    pub failed: u64,
    /// How many tasks panicked.
    pub panicked: u64,
    /// How many tasks were cancelled, queued or running.
    pub cancelled: u64,
    /// How many tasks were rejected because the queue of their tier was full.
    pub rejected_full: u64,
    /// How many tasks were rejected because there was no room until their deadline.
    pub rejected_late: u64,
    /// How many tasks were rejected because the pool was closed.
    pub rejected_closed: u64,
    /// What waits, by tier, the most important first.
    pub tiers: [TierStats; Tier::COUNT],
}

/// What waits in one tier of a pool, and how long others did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TierStats {
    /// How many tasks are queued.
    pub depth: usize,
    /// How many submitters wait for room in the queue.
    pub submitters: usize,
    /// How long the oldest queued task has waited; a tier that starves shows here.
    pub oldest_wait: Duration,
    /// How many tasks were started.
    pub started: u64,
    /// How long all that were started had waited in the queue, added up.
    pub waited: Duration,
}

/// A task that a pool runs at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningTask {
    /// The name it was submitted with.
    pub name: Name,
    /// The trace it belongs to.
    pub trace_id: Option<TraceId>,
    /// How long it has been running, waiting at awaits included.
    pub age: Duration,
}

impl PoolStats {
    /// How many tasks are queued, in all tiers.
    pub fn depth(&self) -> usize {
        self.tiers.iter().map(|tier| tier.depth).sum()
    }

    /// How many tasks were accepted and have ended.
    pub fn ended(&self) -> u64 {
        self.completed + self.failed + self.panicked + self.cancelled
    }

    /// How many tasks were rejected, for any reason.
    pub fn rejected(&self) -> u64 {
        self.rejected_full + self.rejected_late + self.rejected_closed
    }
}

impl Shared {
    pub(super) fn stats(&self) -> PoolStats {
        let now = clock::nanos();
        let since = |since: u64| Duration::from_nanos(now.saturating_sub(since));
        let line = self.whole_line();
        let (crew, counts) = (line.crew(), line.counts());
        let longest = crew.running().min_by_key(|running| running.since);
        PoolStats {
            name: self.name,
            is_open: line.is_open(),
            workers: crew.size(),
            workers_target: crew.target(),
            in_flight: crew.in_flight(),
            longest: longest.map(|running| task(running, now)),
            completed: counts.completed,
            failed: counts.failed,
            panicked: counts.panicked,
            cancelled: counts.cancelled,
            rejected_full: counts.rejected_full,
            rejected_late: counts.rejected_late,
            rejected_closed: counts.rejected_closed,
            tiers: std::array::from_fn(|tier| TierStats {
                depth: line.depth(tier),
                submitters: line.at_door(tier),
                oldest_wait: line.oldest(tier).map_or(Duration::ZERO, since),
                started: counts.started[tier],
                waited: Duration::from_nanos(counts.waited[tier]),
            }),
        }
    }

    pub(super) fn running(&self) -> Vec<RunningTask> {
        let mut running: Vec<_> = self.line().crew().running().collect();
        running.sort_by_key(|running| running.since);
        let now = clock::nanos();
        running.into_iter().map(|r| task(r, now)).collect()
    }
}

fn task(running: Running, now: u64) -> RunningTask {
    RunningTask {
        name: running.card.name,
        trace_id: running.card.trace_id,
        age: Duration::from_nanos(now.saturating_sub(running.since)),
    }
}

/// The labels of the tiers: a bounded set without a space.
const TIERS: [Name; Tier::COUNT] = [
    Name::new("core"),
    Name::new("1"),
    Name::new("2"),
    Name::new("3"),
    Name::new("4"),
    Name::new("5"),
    Name::new("6"),
    Name::new("7"),
];

/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_pool_open",
        &["pool"],
        "1 while the pool takes tasks, 0 once it drains.",
    ),
    MetricDoc::gauge(
        "steadfast_pool_workers",
        &["pool"],
        "Workers that there are.",
    ),
    MetricDoc::gauge(
        "steadfast_pool_workers_target",
        &["pool"],
        "Workers that there should be.",
    ),
    MetricDoc::gauge(
        "steadfast_pool_in_flight",
        &["pool"],
        "Tasks that are running.",
    ),
    MetricDoc::gauge(
        "steadfast_pool_longest_run_seconds",
        &["pool"],
        "How long the task has been running that runs for the longest.",
    ),
    MetricDoc::counter(
        "steadfast_pool_tasks_total",
        &["pool", "outcome"],
        "Tasks that ended: completed, failed, panicked or cancelled.",
    ),
    MetricDoc::counter(
        "steadfast_pool_rejected_total",
        &["pool", "reason"],
        "Tasks that were not taken: the queue was full, the deadline came, or the pool was closed.",
    ),
    MetricDoc::gauge(
        "steadfast_pool_depth",
        &["pool", "tier"],
        "Tasks that wait for a worker.",
    ),
    MetricDoc::gauge(
        "steadfast_pool_submitters_waiting",
        &["pool", "tier"],
        "Submitters that wait for room in the queue.",
    ),
    MetricDoc::gauge(
        "steadfast_pool_oldest_wait_seconds",
        &["pool", "tier"],
        "How long the task has waited that waits for the longest.",
    ),
    MetricDoc::counter(
        "steadfast_pool_started_total",
        &["pool", "tier"],
        "Tasks that a worker has started.",
    ),
    MetricDoc::counter(
        "steadfast_pool_waited_seconds_total",
        &["pool", "tier"],
        "How long the started tasks have waited, all together.",
    ),
];

impl Source for Shared {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut Collector) {
        let stats = self.stats();
        let pool = ("pool", self.name);
        let longest = stats.longest.map_or(Duration::ZERO, |task| task.age);
        to.labels([pool])
            .armed("steadfast_pool_open", stats.is_open)
            .gauge("steadfast_pool_workers", stats.workers as f64)
            .gauge("steadfast_pool_workers_target", stats.workers_target as f64)
            .gauge("steadfast_pool_in_flight", stats.in_flight as f64)
            .gauge("steadfast_pool_longest_run_seconds", longest.as_secs_f64());
        for (outcome, count) in [
            ("completed", stats.completed),
            ("failed", stats.failed),
            ("panicked", stats.panicked),
            ("cancelled", stats.cancelled),
        ] {
            to.labels([pool, ("outcome", outcome.into())])
                .counter("steadfast_pool_tasks_total", count);
        }
        for (reason, count) in [
            ("full", stats.rejected_full),
            ("late", stats.rejected_late),
            ("closed", stats.rejected_closed),
        ] {
            to.labels([pool, ("reason", reason.into())])
                .counter("steadfast_pool_rejected_total", count);
        }
        for (tier, label) in stats.tiers.iter().zip(TIERS) {
            to.labels([pool, ("tier", label)])
                .gauge("steadfast_pool_depth", tier.depth as f64)
                .gauge("steadfast_pool_submitters_waiting", tier.submitters as f64)
                .gauge(
                    "steadfast_pool_oldest_wait_seconds",
                    tier.oldest_wait.as_secs_f64(),
                )
                .counter("steadfast_pool_started_total", tier.started)
                .sum(
                    "steadfast_pool_waited_seconds_total",
                    tier.waited.as_secs_f64(),
                );
        }
    }
}
