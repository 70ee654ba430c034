use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use steadfast_core::clock::{self, Timestamp};
use steadfast_core::decide::breaker::{
    Breaker, BreakerConfig, BreakerState, InvalidBreaker, Override, Rejected, RejectedBy,
    TripReason,
};

use crate::policy::Signed;
use crate::{Reason, Rejection};

/// How long an endpoint that nobody calls is remembered when room is needed, in nanoseconds: as long
/// as a breaker may be open. Until then a call would still be kept from it.
const REMEMBERED: u64 = BreakerConfig::LONGEST_OPEN.as_nanos() as u64;

/// How exactly it is known when an endpoint was called last: to a second, so that threads do not take
/// the line of the cache from each other at every call.
const SECOND: u64 = 1_000_000_000;

/// One endpoint of a dependency.
pub(super) struct Endpoint {
    pub(super) name: String,
    /// Replaced when its numbers change; permits of the one before are good for the next.
    breaker: ArcSwap<Breaker>,
    last_trip: ArcSwapOption<Trip>,
    /// Who holds a hand on it, for as long as the breaker says so.
    forced_by: ArcSwapOption<Signed>,
    called: AtomicU64,
}

/// When and why it tripped last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trip {
    pub(super) reason: TripReason,
    pub(super) open_for: Duration,
    pub(super) at: Timestamp,
    bound: Option<Bound>,
}

/// What was reached, as a rejection tells it: the limit, what was seen, and the unit of both.
type Bound = (f64, f64, &'static str);

impl Endpoint {
    pub(super) fn new(
        name: String,
        config: BreakerConfig,
        seed: u64,
        now: u64,
    ) -> Result<Self, InvalidBreaker> {
        Ok(Self {
            name,
            breaker: ArcSwap::from_pointee(Breaker::new(config, seed)?),
            last_trip: ArcSwapOption::empty(),
            forced_by: ArcSwapOption::empty(),
            called: AtomicU64::new(now),
        })
    }

    pub(super) fn breaker(&self) -> Arc<Breaker> {
        self.breaker.load_full()
    }

    /// Does `f` to the breaker without a count of references.
    pub(super) fn with<R>(&self, f: impl FnOnce(&Breaker) -> R) -> R {
        f(&self.breaker.load())
    }

    pub(super) fn note_called(&self, now: u64) {
        if now >= self.called.load(Ordering::Relaxed).saturating_add(SECOND) {
            self.called.store(now, Ordering::Relaxed);
        }
    }

    /// Goes on under other numbers, in the state that it is in.
    pub(super) fn reconfigure(&self, config: BreakerConfig) {
        let next = self.with(|breaker| breaker.with_config(config));
        if let Ok(next) = next {
            self.breaker.store(Arc::new(next));
        }
    }

    pub(super) fn tripped(&self, reason: TripReason, open_for: Duration) {
        let at = clock::timestamp();
        let bound = self.with(|breaker| bound_of(reason, breaker.config()));
        self.last_trip.store(Some(Arc::new(Trip {
            reason,
            open_for,
            at,
            bound,
        })));
    }

    pub(super) fn last_trip(&self) -> Option<Trip> {
        self.last_trip.load().as_deref().copied()
    }

    pub(super) fn force(&self, over: Override, lasts: Duration, by: &Arc<Signed>, now: u64) {
        // Checked by whoever asks for it.
        let _ = self.with(|breaker| breaker.force(over, lasts, now));
        self.forced_by.store(Some(by.clone()));
    }

    /// Ends what an operator holds; tells whether there was anything.
    pub(super) fn release(&self, now: u64) -> bool {
        let held = self.with(|breaker| {
            let held = breaker.status(now).forced.is_some();
            breaker.release();
            held
        });
        self.forced_by.store(None);
        held
    }

    pub(super) fn forced_by(&self) -> Option<Arc<Signed>> {
        self.forced_by.load_full()
    }

    /// Tells whether nothing would be lost by forgetting it.
    pub(super) fn is_forgettable(&self, now: u64) -> bool {
        let status = self.with(|breaker| breaker.status(now));
        let as_new = status.state == BreakerState::Closed
            && status.calls.calls == 0
            && status.failures_in_a_row == 0;
        let called = self.called.load(Ordering::Relaxed);
        let long_ago = now >= called.saturating_add(REMEMBERED);
        status.forced.is_none() && (as_new || long_ago)
    }

    /// Makes the rejection of a call.
    pub(super) fn rejection(
        &self,
        policy: steadfast_core::context::Name,
        why: Rejected,
    ) -> Rejection {
        let rejection = Rejection::new(Reason::BreakerOpen, policy);
        let rejection = rejection.with_retry_after(super::tally::come_back(why.retry_after));
        if why.by == RejectedBy::Forced {
            return rejection;
        }
        match self.last_trip().and_then(|trip| trip.bound) {
            Some((limit, observed, unit)) => rejection.with_bound(limit, observed, unit),
            None => rejection,
        }
    }
}

fn bound_of(reason: TripReason, config: &BreakerConfig) -> Option<Bound> {
    let share = |part: u32, all: u32| f64::from(part) / f64::from(all.max(1));
    let probes = config
        .failure_share()
        .unwrap_or(BreakerConfig::DEFAULT_PROBE_SHARE);
    Some(match reason {
        TripReason::FailureShare { failed, calls } => (
            config.failure_share()?,
            share(failed, calls),
            "of the calls failed",
        ),
        TripReason::SlowShare { slow, calls } => (
            config.slow()?.1,
            share(slow, calls),
            "of the calls were slow",
        ),
        TripReason::Consecutive { failures } => (
            f64::from(config.consecutive()?),
            f64::from(failures),
            "failures in a row",
        ),
        TripReason::Probes { failed, ended, .. } => {
            (probes, share(failed, ended), "of the probes failed")
        }
        TripReason::NoProbeCameBack => return None,
    })
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.name).finish()
    }
}
