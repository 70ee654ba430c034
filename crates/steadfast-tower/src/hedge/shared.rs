use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast_core::clock;
use steadfast_core::context::Name;
use steadfast_core::decide::hedge::{Hedge, HedgeCall, NoHedge};
use steadfast_core::decide::sketch::{Histogram, Sketch};
use steadfast_core::report::{Collector, MetricDoc, Source};

const SECOND: u64 = 1_000_000_000;

/// How many seconds without a call may pass before one of them is not learned from: the sketch
/// holds as many.
const SECONDS: u64 = 4;

/// What was learned about the calls of one layer, and who may be hedged.
pub(crate) struct Shared {
    name: Name,
    rule: Mutex<Rule>,
    /// Whether there is a rule: read by every call.
    there: AtomicBool,
    honors_keys: AtomicBool,
    sketch: Sketch,
    sent: AtomicU64,
    won: AtomicU64,
    stops: [AtomicU64; Stop::ALL.len()],
}

struct Rule {
    /// Absent where nothing is hedged.
    hedge: Option<Hedge>,
    /// The second that was learned from last, since the origin of the clock.
    last: u64,
    second: Histogram,
}

/// Why a call that is safe to repeat was not hedged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Decided(NoHedge),
    /// Its body is not there as a whole.
    Body,
}

impl Shared {
    pub(crate) fn new(name: Name, hedge: Option<Hedge>, honors_keys: bool) -> Self {
        let windows = SECONDS as u32 + 1;
        Self {
            name,
            there: AtomicBool::new(hedge.is_some()),
            honors_keys: AtomicBool::new(honors_keys),
            rule: Mutex::new(Rule {
                hedge,
                last: 0,
                second: Histogram::new(),
            }),
            sketch: Sketch::new(Duration::from_secs(1), windows).expect("in range"),
            sent: AtomicU64::new(0),
            won: AtomicU64::new(0),
            stops: Default::default(),
        }
    }

    /// Changes the numbers; what was learned and counted goes on.
    pub(crate) fn reconfigure(&self, hedge: Option<Hedge>, honors_keys: bool) {
        let mut rule = self.rule();
        self.there.store(hedge.is_some(), Ordering::Relaxed);
        self.honors_keys.store(honors_keys, Ordering::Relaxed);
        rule.hedge = match (hedge, &rule.hedge) {
            (Some(hedge), Some(before)) => Some(hedge.taking_over(before)),
            (hedge, _) => hedge,
        };
    }

    pub(super) fn is_there(&self) -> bool {
        self.there.load(Ordering::Relaxed)
    }

    pub(super) fn honors_keys(&self) -> bool {
        self.honors_keys.load(Ordering::Relaxed)
    }

    /// Gives after which time a call is hedged now, unless that is still to be learned.
    pub(crate) fn delay(&self) -> Option<Duration> {
        self.rule().hedge.as_ref()?.delay()
    }

    /// Says after how long without an answer to ask again.
    pub(super) fn plan(&self, call: &HedgeCall) -> Result<Duration, NoHedge> {
        let mut rule = self.rule();
        rule.learn(&self.sketch, clock::nanos());
        match &rule.hedge {
            Some(hedge) => hedge.plan(call),
            None => Err(NoHedge::Learning),
        }
    }

    /// Decides whether the second attempt is sent now.
    pub(super) fn send(&self, call: &HedgeCall) -> Result<(), NoHedge> {
        match &mut self.rule().hedge {
            Some(hedge) => hedge.send(call, clock::nanos())?,
            None => return Err(NoHedge::Learning),
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// A call that began at `since` has succeeded, by its second attempt or not.
    pub(super) fn answered(&self, since: u64, by_second: bool) {
        let now = clock::nanos();
        self.sketch.record(now.saturating_sub(since), now);
        if by_second {
            self.won.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(hedge) = &mut self.rule().hedge {
            hedge.count_success(now);
        }
    }

    pub(super) fn stopped(&self, stop: Stop) {
        self.stops[stop.index()].fetch_add(1, Ordering::Relaxed);
    }

    fn rule(&self) -> MutexGuard<'_, Rule> {
        self.rule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rule {
    /// Learns from the seconds that have ended.
    fn learn(&mut self, sketch: &Sketch, now: u64) {
        let this = now / SECOND;
        let first = this.saturating_sub(SECONDS).max(self.last + 1);
        for ended in first..this {
            sketch.read_ended((ended + 1) * SECOND, &mut self.second);
            if let Some(hedge) = &mut self.hedge {
                hedge.learn(&self.second);
            }
            self.last = ended;
        }
    }
}

impl Stop {
    const ALL: [Self; 6] = [
        Self::Decided(NoHedge::NotReplayable),
        Self::Decided(NoHedge::BreakerNotClosed),
        Self::Decided(NoHedge::Learning),
        Self::Decided(NoHedge::Deadline),
        Self::Decided(NoHedge::BudgetSpent),
        Self::Body,
    ];

    fn index(self) -> usize {
        let found = Self::ALL.iter().position(|stop| *stop == self);
        found.expect("all are listed")
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Decided(NoHedge::NotReplayable) => "not-replayable",
            Self::Decided(NoHedge::BreakerNotClosed) => "breaker-not-closed",
            Self::Decided(NoHedge::Learning) => "learning",
            Self::Decided(NoHedge::Deadline) => "deadline",
            Self::Decided(NoHedge::BudgetSpent) => "budget-spent",
            Self::Body => "body",
        }
    }
}

/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_hedge_delay_seconds",
        &["policy"],
        "After which time a call is hedged now; absent while that is learned.",
    ),
    MetricDoc::counter(
        "steadfast_hedges_total",
        &["policy"],
        "Second attempts that were sent beside a first one.",
    ),
    MetricDoc::counter(
        "steadfast_hedges_won_total",
        &["policy"],
        "Second attempts that gave the answer.",
    ),
    MetricDoc::counter(
        "steadfast_hedge_stops_total",
        &["policy", "reason"],
        "Calls that are safe to repeat and were not hedged, and why.",
    ),
];

impl Source for Shared {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut Collector) {
        if !self.is_there() {
            return;
        }
        let delay = self.delay();
        let mut labeled = to.labels([("policy", self.name)]);
        if let Some(delay) = delay {
            labeled.gauge("steadfast_hedge_delay_seconds", delay.as_secs_f64());
        }
        labeled
            .counter("steadfast_hedges_total", self.sent.load(Ordering::Relaxed))
            .counter(
                "steadfast_hedges_won_total",
                self.won.load(Ordering::Relaxed),
            );
        for stop in Stop::ALL {
            let count = self.stops[stop.index()].load(Ordering::Relaxed);
            to.labels([("policy", self.name), ("reason", stop.as_str().into())])
                .counter("steadfast_hedge_stops_total", count);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .field("delay", &self.delay())
            .finish_non_exhaustive()
    }
}
