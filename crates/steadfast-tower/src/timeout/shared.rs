use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, TryLockError};
use std::time::Duration;

use steadfast_core::clock::{self, Instant};
use steadfast_core::context::Name;
use steadfast_core::decide::sketch::{Histogram, Sketch};
use steadfast_core::decide::timeout::{
    self, AdaptiveTimeout, CallTimeout, Ended, TimeoutConfig, TimeoutPlan,
};
use steadfast_core::report::{Collector, MetricDoc, Source};

use super::fastest::Fastest;
use crate::reject::soon;
use crate::{Reason, Rejection};

const SECOND: u64 = 1_000_000_000;

/// How many seconds without a call may pass before one of them is not learned from: the sketch
/// holds as many.
const SECONDS: u64 = 4;

/// The state of one timeout.
pub(crate) struct Shared {
    pub(super) name: Name,
    kind: Kind,
    calls: AtomicU64,
    pub(super) cut: AtomicU64,
    fastest: Fastest,
    shadow: AtomicBool,
}

enum Kind {
    Fixed(Duration),
    Learned(Box<Learned>),
}

struct Learned {
    /// What is in force: read by every call, written once a second.
    plan: RwLock<TimeoutPlan>,
    sketch: Sketch,
    /// When the second under way ends.
    second_ends: AtomicU64,
    permits: Option<u32>,
    rule: Mutex<Rule>,
}

struct Rule {
    timeout: AdaptiveTimeout,
    /// The second that was learned from last, since the origin of the clock.
    last: u64,
    second: Histogram,
}

/// How long one call may take.
#[derive(Debug)]
pub(super) enum Given {
    Fixed(Duration),
    Learned(CallTimeout),
}

impl Shared {
    pub(crate) fn fixed(name: Name, timeout: Duration) -> Self {
        Self::new(name, Kind::Fixed(timeout))
    }

    pub(crate) fn learned(
        name: Name,
        config: TimeoutConfig,
        permits: Option<u32>,
        start: Option<Duration>,
    ) -> Self {
        let timeout = match start {
            Some(start) => AdaptiveTimeout::starting_at(config, start),
            None => AdaptiveTimeout::new(config),
        };
        let windows = SECONDS as u32 + 1;
        let sketch = Sketch::new(Duration::from_secs(1), windows).expect("in range");
        let learned = Learned {
            plan: RwLock::new(timeout.plan()),
            sketch,
            second_ends: AtomicU64::new(0),
            permits,
            rule: Mutex::new(Rule {
                timeout,
                last: 0,
                second: Histogram::new(),
            }),
        };
        Self::new(name, Kind::Learned(Box::new(learned)))
    }

    fn new(name: Name, kind: Kind) -> Self {
        Self {
            name,
            kind,
            calls: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            fastest: Fastest::default(),
            shadow: AtomicBool::new(false),
        }
    }

    /// Goes on counting from where another one has been.
    pub(crate) fn following(self, before: &Self) -> Self {
        let cut = before.cut.load(Ordering::Relaxed);
        self.cut.store(cut, Ordering::Relaxed);
        self
    }

    /// Says whether it only looks on.
    pub(crate) fn set_shadow(&self, shadow: bool) {
        self.shadow.store(shadow, Ordering::Relaxed);
    }

    pub(super) fn is_shadow(&self) -> bool {
        self.shadow.load(Ordering::Relaxed)
    }

    /// Rejects a call that has less time than the fastest one lately has taken.
    pub(crate) fn cannot_finish(&self, left: Duration, now: u64) -> Option<Rejection> {
        let fastest = self.fastest.get(now)?;
        if left >= fastest {
            return None;
        }
        let (left, fastest) = (left.as_secs_f64(), fastest.as_secs_f64());
        let rejection = Rejection::new(Reason::CannotFinish, self.name);
        let rejection = rejection
            .with_bound(left, fastest, "seconds that the fastest answer has taken")
            .with_retry_after(soon());
        if self.is_shadow() {
            rejection.count_shadow();
            return None;
        }
        Some(rejection)
    }

    /// Gives how long a call may take that begins now, with `left` until its deadline.
    pub(super) fn begin(&self, now: Instant, left: Option<Duration>) -> Given {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match &self.kind {
            Kind::Fixed(timeout) => Given::Fixed(left.map_or(*timeout, |left| left.min(*timeout))),
            Kind::Learned(learned) => {
                Given::Learned(learned.begin(call, clock::nanos_at(now), left))
            }
        }
    }

    /// Notes how a call ended, and when.
    pub(super) fn ended(&self, given: &Given, ended: Ended, at: Instant) {
        let at = clock::nanos_at(at);
        if let (Kind::Learned(learned), Given::Learned(given)) = (&self.kind, given) {
            timeout::record(&learned.sketch, *given, ended, at);
        }
        if let Ended::Answered(took) = ended {
            self.fastest.note(took, at);
        }
    }

    /// Has a learned timeout go on from one that is known from elsewhere.
    pub(crate) fn start_at(&self, start: Duration) {
        if let Kind::Learned(learned) = &self.kind {
            let mut rule = learned.rule.lock().unwrap_or_else(PoisonError::into_inner);
            rule.timeout.start_at(start);
            let plan = rule.timeout.plan();
            *learned.plan.write().unwrap_or_else(PoisonError::into_inner) = plan;
        }
    }

    pub(crate) fn usual(&self) -> Duration {
        match &self.kind {
            Kind::Fixed(timeout) => *timeout,
            Kind::Learned(learned) => learned.plan().usual(),
        }
    }
}

impl Given {
    pub(super) fn get(&self) -> Duration {
        match self {
            Self::Fixed(timeout) => *timeout,
            Self::Learned(timeout) => timeout.get(),
        }
    }
}

impl Learned {
    fn begin(&self, call: u64, now: u64, left: Option<Duration>) -> CallTimeout {
        if now >= self.second_ends.load(Ordering::Relaxed) {
            self.learn(now);
        }
        timeout::count_call(&self.sketch, now);
        self.plan().for_call(call, left)
    }

    fn plan(&self) -> TimeoutPlan {
        *self.plan.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the quantile that is followed, in seconds; 0 until enough is known.
    fn followed(&self) -> f64 {
        let rule = self.rule.lock().unwrap_or_else(PoisonError::into_inner);
        let quantile_ns = rule.timeout.quantile_ns();
        quantile_ns.map_or(0.0, |nanos| nanos as f64 / 1e9)
    }

    /// Learns from the seconds that have ended, unless another thread is at it.
    fn learn(&self, now: u64) {
        let mut rule = match self.rule.try_lock() {
            Ok(rule) => rule,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let this = now / SECOND;
        self.second_ends
            .store((this + 1) * SECOND, Ordering::Relaxed);
        let Rule {
            timeout,
            last,
            second,
        } = &mut *rule;
        let first = this.saturating_sub(SECONDS).max(*last + 1);
        for ended in first..this {
            self.sketch.read_ended((ended + 1) * SECOND, second);
            timeout.learn(second, self.permits);
            *last = ended;
        }
        let plan = timeout.plan();
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = plan;
    }
}

/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_timeout_seconds",
        &["policy"],
        "How long a usual call may take now.",
    ),
    MetricDoc::gauge(
        "steadfast_timeout_followed_seconds",
        &["policy"],
        "The quantile of what calls took that a learned timeout follows; 0 until enough is known.",
    ),
    MetricDoc::counter(
        "steadfast_timeout_calls_total",
        &["policy"],
        "Calls that began under the timeout.",
    ),
    MetricDoc::counter(
        "steadfast_timeout_cut_total",
        &["policy"],
        "Calls whose time was up.",
    ),
];

impl Source for Shared {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut Collector) {
        let mut to = to.labels([("policy", self.name)]);
        if let Kind::Learned(learned) = &self.kind {
            to.gauge("steadfast_timeout_followed_seconds", learned.followed());
        }
        to.gauge("steadfast_timeout_seconds", self.usual().as_secs_f64())
            .counter(
                "steadfast_timeout_calls_total",
                self.calls.load(Ordering::Relaxed),
            )
            .counter(
                "steadfast_timeout_cut_total",
                self.cut.load(Ordering::Relaxed),
            );
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .field("usual", &self.usual())
            .finish_non_exhaustive()
    }
}
