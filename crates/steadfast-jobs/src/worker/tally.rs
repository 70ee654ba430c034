use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast_core::report::{Collector, MetricDoc, Source};
use tokio::sync::broadcast;

use crate::QueueInfo;
use crate::event::{EVENTS_BEHIND_MAX, JobEvent, WORDS};
use crate::schedule::Occurred;

/// What a worker tells about itself: counts for everybody, events for those who listen.
#[derive(Debug)]
pub(crate) struct Tally {
    counts: [AtomicU64; WORDS.len()],
    pub(crate) running: AtomicUsize,
    pub(crate) ready: AtomicUsize,
    pub(crate) permits: AtomicUsize,
    /// Occurrences that this worker has made into jobs, left out, or could not decide about.
    occurrences: [AtomicU64; 3],
    /// What it has seen when it last looked; there is nothing to tell before.
    overdue: AtomicUsize,
    late: AtomicUsize,
    /// Seconds of the oldest snapshot that somebody holds.
    snapshot_s: AtomicU64,
    /// Its queues, and whether they are paused.
    queues: Vec<(String, AtomicBool)>,
    /// How many jobs of each queue are due, and for how long the first of them is.
    backlog: Mutex<BTreeMap<String, (u64, Duration)>>,
    /// Kinds that nobody handles, and queues that nobody claims from.
    unhandled: AtomicUsize,
    unserved: AtomicUsize,
    events: broadcast::Sender<JobEvent>,
}

impl Tally {
    pub(crate) fn new(queues: impl Iterator<Item = String>) -> Arc<Self> {
        Arc::new(Self {
            counts: Default::default(),
            running: AtomicUsize::new(0),
            ready: AtomicUsize::new(0),
            permits: AtomicUsize::new(0),
            occurrences: Default::default(),
            overdue: AtomicUsize::new(0),
            late: AtomicUsize::new(0),
            snapshot_s: AtomicU64::new(0),
            queues: queues.map(|name| (name, AtomicBool::new(false))).collect(),
            backlog: Mutex::default(),
            unhandled: AtomicUsize::new(0),
            unserved: AtomicUsize::new(0),
            events: broadcast::Sender::new(EVENTS_BEHIND_MAX),
        })
    }

    /// Counts an event; it is made only if somebody listens.
    pub(crate) fn tell(&self, index: usize, event: impl FnOnce() -> JobEvent) {
        self.counts[index].fetch_add(1, Ordering::Relaxed);
        if self.events.receiver_count() > 0 {
            // Nobody listens any more: that is their loss.
            let _ = self.events.send(event());
        }
    }

    /// Counts what a look at the schedules has done.
    pub(crate) fn occurred(&self, occurred: &Occurred) {
        let counts = [
            occurred.made as u64,
            occurred.skipped,
            occurred.failed as u64,
        ];
        for (known, count) in self.occurrences.iter().zip(counts) {
            known.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Notes how many schedules are overdue, and how many of their jobs are late.
    pub(crate) fn alarmed(&self, overdue: usize, late: usize) {
        self.overdue.store(overdue, Ordering::Relaxed);
        self.late.store(late, Ordering::Relaxed);
    }

    /// Notes for how long the oldest snapshot is held.
    pub(crate) fn snapshot_held(&self, held: Duration) {
        self.snapshot_s.store(held.as_secs(), Ordering::Relaxed);
    }

    /// Notes which queues are paused.
    pub(crate) fn paused(&self, names: &[String]) {
        for (name, is_paused) in &self.queues {
            is_paused.store(names.contains(name), Ordering::Relaxed);
        }
    }

    /// Notes how much waits in queues, of which there may be more behind these; what would be among them and is not has nothing
    /// that waits.
    pub(crate) fn backlog(&self, queues: &[QueueInfo], more: bool) {
        let last = queues.last().filter(|_| more).map(|queue| &queue.name);
        let mut backlog = self.waiting();
        backlog.clear();
        let own = self.queues.iter().map(|(name, _)| name.clone());
        let own = own.filter(|name| last.is_none_or(|last| name <= last));
        backlog.extend(own.map(|name| (name, (0, Duration::ZERO))));
        let told = queues.iter();
        backlog.extend(told.map(|queue| (queue.name.clone(), (queue.pending, queue.oldest))));
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<String, (u64, Duration)>> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how many kinds nobody handles, and how many queues nobody claims from.
    pub(crate) fn abandoned(&self, kinds: usize, queues: usize) {
        self.unhandled.store(kinds, Ordering::Relaxed);
        self.unserved.store(queues, Ordering::Relaxed);
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<JobEvent> {
        self.events.subscribe()
    }

    pub(crate) fn count(&self, index: usize) -> u64 {
        self.counts[index].load(Ordering::Relaxed)
    }
}

impl Source for Tally {
    fn describe(&self) -> &'static [MetricDoc] {
        crate::catalogue::METRICS
    }

    fn collect(&self, to: &mut Collector) {
        for (word, count) in WORDS.iter().zip(&self.counts) {
            to.labels([("event", (*word).into())])
                .counter("steadfast_jobs_total", count.load(Ordering::Relaxed));
        }
        let gauge = |value: &AtomicUsize| value.load(Ordering::Relaxed) as f64;
        to.gauge("steadfast_jobs_running", gauge(&self.running))
            .gauge("steadfast_jobs_ready", gauge(&self.ready))
            .gauge("steadfast_jobs_permits", gauge(&self.permits))
            .gauge(
                "steadfast_jobs_snapshot_held_seconds",
                self.snapshot_s.load(Ordering::Relaxed) as f64,
            )
            .gauge("steadfast_jobs_unhandled_kinds", gauge(&self.unhandled))
            .gauge("steadfast_jobs_unserved_queues", gauge(&self.unserved))
            .gauge("steadfast_schedules_overdue", gauge(&self.overdue))
            .gauge("steadfast_schedules_late_jobs", gauge(&self.late));
        for (name, is_paused) in &self.queues {
            to.labels([("queue", name.clone().into())]).gauge(
                "steadfast_jobs_queue_paused",
                f64::from(u8::from(is_paused.load(Ordering::Relaxed))),
            );
        }
        for (name, (pending, oldest)) in &*self.waiting() {
            to.labels([("queue", name.clone().into())])
                .gauge("steadfast_jobs_queue_pending", *pending as f64)
                .gauge("steadfast_jobs_queue_oldest_seconds", oldest.as_secs_f64());
        }
        for (outcome, count) in ["made", "skipped", "failed"].iter().zip(&self.occurrences) {
            to.labels([("outcome", (*outcome).into())]).counter(
                "steadfast_schedules_occurrences_total",
                count.load(Ordering::Relaxed),
            );
        }
    }
}
