use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use steadfast_core::context::Tier;
use steadfast_core::report::{self, Collector, EventDoc, MetricDoc, Source};
use steadfast_core::shutdown::{self, HookRefused, Phase};
use steadfast_core::{Cancel, Cause, Shutdown, clock};
use tokio::sync::Notify;

use super::DrainLimits;
use super::limits::Stage;
use crate::{Hold, tier};

/// The handle of a drain: begins it, and watches it; see the [module](super). A cheap clone.
#[derive(Clone)]
pub struct Drain {
    shared: Arc<Shared>,
}

struct Shared {
    limits: RwLock<DrainLimits>,
    /// When it has begun, by `clock::nanos`; zero before.
    begun_at: AtomicU64,
    begun: Cancel,
    in_flight: [AtomicUsize; Tier::COUNT],
    idle: Notify,
    followed: OnceLock<Followed>,
    /// The end was told.
    told: AtomicBool,
}

struct Followed {
    shutdown: Shutdown,
    /// Cancelled when it cancels what is left.
    token: Cancel,
}

/// What came of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    left: usize,
}

impl Drained {
    /// Tells whether every request was answered to its end.
    pub fn is_clean(&self) -> bool {
        self.left == 0
    }

    /// Gives how many requests were still in flight at the hard limit.
    pub fn left(&self) -> usize {
        self.left
    }
}

impl Drain {
    /// Makes a drain that has not begun.
    pub fn new(limits: DrainLimits) -> Self {
        let shared = Arc::new(Shared {
            limits: RwLock::new(limits),
            begun_at: AtomicU64::new(0),
            begun: Cancel::new(),
            in_flight: Default::default(),
            idle: Notify::new(),
            followed: OnceLock::new(),
            told: AtomicBool::new(false),
        });
        // Without a place in the report it still drains.
        let _ = report::register("drain", &shared);
        Self { shared }
    }

    /// Begins the drain when `shutdown` does, and ends it when that cancels what is left. What is
    /// in flight is in flight for `shutdown`, too. Only the first one is followed.
    ///
    /// # Errors
    /// [`HookRefused`] if `shutdown` has no room for one more hook; retrying is of no use. One that
    /// has begun already is followed at once.
    pub fn follow(&self, shutdown: &Shutdown) -> Result<(), HookRefused> {
        let drain = self.clone();
        let hook = shutdown.on(Phase::NotReady, "drain", async move || {
            drain.start();
        });
        match hook {
            Ok(()) => {}
            Err(HookRefused::TooLate { .. }) => {
                self.start();
            }
            Err(refused) => return Err(refused),
        }
        // A second one may begin the drain as well; it does not end it.
        let _ = self.shared.followed.set(Followed {
            shutdown: shutdown.clone(),
            token: shutdown.token(),
        });
        Ok(())
    }

    /// Begins the drain; tells whether this was the first time.
    pub fn start(&self) -> bool {
        let shared = &self.shared;
        let first = shared.begun_at.compare_exchange(
            0,
            clock::nanos().max(1),
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
        if first.is_err() {
            return false;
        }
        let limits = shared.limits();
        tracing::info!(
            target: "steadfast::drain",
            in_flight = self.in_flight(),
            notice_ms = limits.notice.as_millis() as u64,
            hard_ms = limits.hard.as_millis() as u64,
            "draining"
        );
        shared.begun.cancel(Cause::Shutdown);
        true
    }

    /// Tells whether new requests should be sent here: the answer of a readiness probe.
    pub fn is_ready(&self) -> bool {
        self.shared.stage() == Stage::Serving
    }

    /// Gives how many requests have begun whose answer has not ended.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight()
    }

    /// Waits until no new connection should be taken: the drain has begun, and the notice is over.
    ///
    /// # Panics
    /// When polled outside a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub fn stop_accepting(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = self.shared.clone();
        async move { shared.until(DrainLimits::stop_accepting).await }
    }

    /// Waits until the hard limit, or until the [shutdown](Self::follow) cancels what is left.
    ///
    /// # Panics
    /// When polled outside a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub fn hard_limit(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = self.shared.clone();
        async move { shared.until(|limits| limits.hard).await }
    }

    /// Waits until no request is in flight once no new connection should be taken, at the latest
    /// until the hard limit.
    ///
    /// An answer whose last frame was given to the server is on its way, and perhaps not yet with
    /// the client: the server's own graceful end waits for that.
    ///
    /// # Panics
    /// When polled outside a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub fn drained(&self) -> impl Future<Output = Drained> + Send + use<> {
        let shared = self.shared.clone();
        async move {
            shared.until(DrainLimits::stop_accepting).await;
            shared.until_idle().await;
            let left = shared.in_flight();
            shared.tell_end(left);
            Drained { left }
        }
    }

    /// Waits until what is below core has had its time.
    #[cfg(feature = "serve")]
    pub(crate) fn lower_limit(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = self.shared.clone();
        async move { shared.until(DrainLimits::lower_ends).await }
    }

    /// Changes how long its parts may take; waits that are under way keep theirs.
    pub(crate) fn set_limits(&self, limits: DrainLimits) {
        let known = self.shared.limits.write();
        *known.unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Gives for how long requests such as one that was not let in are served, and how long ago the
    /// drain has begun. One that is cut short serves for no longer.
    pub(super) fn closed_after(&self) -> (Duration, Duration) {
        let (shared, limits) = (&self.shared, self.shared.limits());
        let since = shared.since().unwrap_or_default();
        let limit = match shared.stage() {
            Stage::Closed => limits.hard,
            _ => limits.notice,
        };
        (limit.min(since), since)
    }

    /// Lets a request of that tier in, or not.
    pub(crate) fn enter(&self, tier: Tier) -> Option<InFlight> {
        let shared = &self.shared;
        // Counted before the look: otherwise the drain could see nobody in between.
        shared.count(tier).fetch_add(1, Ordering::SeqCst);
        let mut entered = InFlight {
            shared: shared.clone(),
            tier,
            followed: None,
        };
        let serves = match shared.stage() {
            Stage::Serving | Stage::NotReady => true,
            Stage::CoreOnly => tier == Tier::CORE,
            Stage::Closed => false,
        };
        if serves && let Some(followed) = shared.followed.get() {
            // That one takes nothing new earlier than we do; then it is ours alone.
            entered.followed = followed.shutdown.in_flight(tier);
        }
        serves.then_some(entered)
    }
}

/// A drain with the default limits.
impl Default for Drain {
    fn default() -> Self {
        Self::new(DrainLimits::default())
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("stage", &self.shared.stage())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// A request in flight, until this is dropped.
pub struct InFlight {
    shared: Arc<Shared>,
    tier: Tier,
    followed: Option<shutdown::InFlight>,
}

impl InFlight {
    /// Tells whether the client should leave with the answer.
    pub(super) fn is_last(&self) -> bool {
        self.shared.stage() != Stage::Serving
    }
}

impl Hold for InFlight {}

impl Drop for InFlight {
    fn drop(&mut self) {
        let before = self.shared.count(self.tier).fetch_sub(1, Ordering::SeqCst);
        // Nobody waits before it has begun, and whoever begins to wait after that looks first: in the
        // one order of these accesses the count is lower before that look.
        if before == 1 && self.shared.begun_at.load(Ordering::SeqCst) > 0 {
            self.shared.idle.notify_waiters();
        }
    }
}

impl Shared {
    fn stage(&self) -> Stage {
        // Also when it has not begun: a shutdown in a hurry jumps over its first phases.
        if self.token().is_some_and(Cancel::is_cancelled) {
            return Stage::Closed;
        }
        match self.since() {
            Some(since) => self.limits().stage(since),
            None => Stage::Serving,
        }
    }

    fn limits(&self) -> DrainLimits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn token(&self) -> Option<&Cancel> {
        Some(&self.followed.get()?.token)
    }

    /// How long ago it has begun, if it has.
    fn since(&self) -> Option<Duration> {
        let begun_at = self.begun_at.load(Ordering::SeqCst);
        // Asked twice for each request: the clock is read once there is something to measure.
        (begun_at > 0).then(|| Duration::from_nanos(clock::nanos().saturating_sub(begun_at)))
    }

    fn count(&self, tier: Tier) -> &AtomicUsize {
        &self.in_flight[usize::from(tier.number())]
    }

    fn in_flight(&self) -> usize {
        let counts = self.in_flight.iter();
        counts.map(|count| count.load(Ordering::SeqCst)).sum()
    }

    /// Waits until so long after the beginning, or until the end of a shutdown.
    async fn until(&self, after: impl FnOnce(&DrainLimits) -> Duration) {
        let wait = async {
            self.begun.cancelled().await;
            let after = after(&self.limits());
            let since = self.since().unwrap_or_default();
            clock::sleep(after.saturating_sub(since)).await;
        };
        match self.token() {
            // Over or cancelled: either is the end of the wait.
            Some(token) => drop(token.run(wait).await),
            None => wait.await,
        }
    }

    /// Waits until nothing is in flight, at the latest until the hard limit.
    async fn until_idle(&self) {
        let idle = async {
            loop {
                let mut changed = pin!(self.idle.notified());
                // Before the look: what ends after that is heard.
                changed.as_mut().enable();
                if self.in_flight() == 0 {
                    return;
                }
                changed.await;
            }
        };
        let (mut idle, mut limit) = (pin!(idle), pin!(self.until(|limits| limits.hard)));
        std::future::poll_fn(|cx| {
            if idle.as_mut().poll(cx).is_ready() {
                return std::task::Poll::Ready(());
            }
            limit.as_mut().poll(cx)
        })
        .await;
    }

    /// Tells the end, whoever waits for it first.
    fn tell_end(&self, left: usize) {
        if self.told.swap(true, Ordering::Relaxed) {
            return;
        }
        let took_ms = self.since().unwrap_or_default().as_millis() as u64;
        match left {
            0 => tracing::info!(target: "steadfast::drain", took_ms, "drained"),
            left => tracing::warn!(
                target: "steadfast::drain",
                took_ms,
                left,
                "the hard limit came before the end of all requests"
            ),
        }
    }
}

/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_drain_ready",
        &[],
        "1 while the service is ready for requests, 0 once it drains.",
    ),
    MetricDoc::gauge(
        "steadfast_drain_in_flight",
        &["tier"],
        "Requests in flight that a drain waits for, or would.",
    ),
];

/// What it tells to the log.
pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new("steadfast::drain", &["info"], "draining", &["hard_ms", "in_flight", "notice_ms"]).when("The service is about to stop: it is not ready any more, and after the notice rejects what is not core.").action("Nothing; balancers should see the readiness probe fail within the notice."),
    EventDoc::new("steadfast::drain", &["info"], "drained", &["took_ms"]).when("Every request was answered to its end.").action("Nothing."),
    EventDoc::new("steadfast::drain", &["warn"], "the hard limit came before the end of all requests", &["left", "took_ms"]).when("Requests were still in flight at the hard limit, and are cut.").action("Shorten them, or raise the limit."),
];

impl Source for Shared {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut Collector) {
        let ready = self.stage() == Stage::Serving;
        to.gauge("steadfast_drain_ready", f64::from(u8::from(ready)));
        for (name, count) in tier::LABELS.iter().zip(&self.in_flight) {
            let count = count.load(Ordering::SeqCst);
            to.labels([("tier", *name)])
                .gauge("steadfast_drain_in_flight", count as f64);
        }
    }
}
