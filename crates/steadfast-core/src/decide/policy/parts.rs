//! The named policies, which routes and dependencies refer to.
//!
//! Each constructor takes what has no default. The rest are bounds, whose defaults have their
//! reason beside them; set the field to change one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::values::{Attempts, Count, Setting, Share, Timeout};
use crate::context::Tier;
use crate::decide::budget::RetryBudget;

/// How long something may take until its answer begins.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeoutPolicy {
    /// The timeout, or between which bounds to learn it.
    pub timeout: Setting<Timeout>,
    /// When learned: how many permits of all may wait for this one thing, at most. Default
    /// [`DEFAULT_PERMIT_SHARE`](Self::DEFAULT_PERMIT_SHARE).
    pub permit_share: Share,
    /// When learned: what it starts from, before enough calls are known. Default the ceiling.
    pub start: Option<Timeout>,
    /// When learned: what a metrics store is asked at the start; its answer, in seconds, goes before
    /// `start`. At most [`START_QUERY_BYTES_MAX`](Self::START_QUERY_BYTES_MAX). Default nobody is
    /// asked.
    pub start_query: Option<String>,
    /// How long a body may stand still once the answer has begun. Default
    /// [`DEFAULT_BODY_IDLE`](Self::DEFAULT_BODY_IDLE).
    pub body_idle: Timeout,
    /// How long a body may take in all. Default as long as it moves.
    pub body_total: Option<Timeout>,
    /// Whether it only says what it would have ended. Default no.
    pub shadow: bool,
}

/// How many requests run at once, how many wait, and who goes first.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmissionPolicy {
    /// The permits, or between which bounds to learn their number.
    pub permits: Setting<Count>,
    /// The most requests that wait. Default [`DEFAULT_QUEUE`](Self::DEFAULT_QUEUE).
    pub queue: Count,
    /// The longest a request waits for its permit.
    pub queue_wait: Timeout,
    /// Parts of the permits that are kept for a tier when all want more than there is. A tier that
    /// is not named has no guarantee.
    pub guaranteed: BTreeMap<Tier, Share>,
    /// Whether it only says what it would have rejected. Default no.
    pub shadow: bool,
}

/// When to stop calling something that does not work.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerPolicy {
    /// Trips when at least this part of the calls of a window fails.
    pub failure_share: Option<Share>,
    /// Trips when too many calls of a window are slow.
    pub slow: Option<SlowCalls>,
    /// Trips after this many failures in a row.
    pub consecutive: Option<Count>,
    /// How many calls a window needs before its shares mean anything. Default
    /// [`DEFAULT_MIN_CALLS`](Self::DEFAULT_MIN_CALLS).
    pub min_calls: Count,
    /// How far back is looked. Default [`DEFAULT_WINDOW`](Self::DEFAULT_WINDOW).
    pub window: Timeout,
    /// How many calls probe a target in a round of half-open. Default
    /// [`DEFAULT_HALF_OPEN`](Self::DEFAULT_HALF_OPEN).
    pub half_open: Count,
    /// How long it stays open the first time; twice as long with each round of half-open that fails.
    /// Default [`DEFAULT_OPEN`](Self::DEFAULT_OPEN).
    pub open: Timeout,
    /// The longest it stays open. Default [`DEFAULT_OPEN_LONGEST`](Self::DEFAULT_OPEN_LONGEST).
    pub open_longest: Timeout,
    /// How long it takes from the probes to all calls, once it has recovered. Default
    /// [`DEFAULT_RAMP`](Self::DEFAULT_RAMP).
    pub ramp: Timeout,
    /// Whether it only says what it would have rejected. Default no.
    pub shadow: bool,
}

/// Which calls are slow, and how many of them are too many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowCalls {
    /// A call that takes longer is slow.
    pub over: Timeout,
    /// The part of a window's calls that makes the breaker trip.
    pub share: Share,
}

/// How often to try again, and who pays.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The most attempts, the first included.
    pub attempts: Attempts,
    /// The share of calls that may be retries.
    pub budget: Option<Share>,
    /// The ceiling of the wait before the first retry; it doubles with each. Default
    /// [`DEFAULT_FIRST_WAIT`](Self::DEFAULT_FIRST_WAIT).
    pub first_wait: Timeout,
    /// The greatest ceiling of a wait. Default
    /// [`DEFAULT_LONGEST_WAIT`](Self::DEFAULT_LONGEST_WAIT).
    pub longest_wait: Timeout,
    /// Whether calls that are not known to be safe to repeat are repeated, too. Default no.
    pub unsafe_methods: bool,
}

/// When to send a second attempt beside one that takes long.
#[derive(Clone, Debug, PartialEq)]
pub struct HedgePolicy {
    /// After this time; learned, it follows the live 95th percentile.
    pub delay: Setting<Timeout>,
    /// The share of calls that may be hedged.
    pub budget: Option<Share>,
}

/// How much may come over time.
#[derive(Clone, Debug, PartialEq)]
pub struct RatePolicy {
    /// How many requests a `period` has.
    pub requests: Count,
    /// The length of time for which `requests` are meant.
    pub period: Timeout,
    /// How many may come at once.
    pub burst: Count,
    /// Whether each client has this quota, or all of them share it.
    pub per_client: bool,
    /// Whether it only says what it would have rejected. Default no.
    pub shadow: bool,
}

/// How many answers may be under way that do not end by themselves, and how long each.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamPolicy {
    /// The most streams at once. They have no part in the permits of an admission.
    pub connections: Count,
    /// How long a stream may stand still: longer than its heartbeat.
    pub idle: Timeout,
    /// How long a stream may take in all; who is still there comes again. Default as long as it moves.
    pub total: Option<Timeout>,
    /// Whether it only says what it would have rejected. Default no.
    pub shadow: bool,
}

// === impl TimeoutPolicy ===

impl TimeoutPolicy {
    /// Half of the permits: one thing that stalls leaves as much to all others as it takes.
    pub const DEFAULT_PERMIT_SHARE: f64 = 0.5;

    /// 30 s: nothing healthy stands still in the middle of an answer for that long, and a connection
    /// whose other end is gone without a word costs its memory for no longer.
    pub const DEFAULT_BODY_IDLE: Timeout = Timeout::known_millis(30_000);

    /// The longest query: 1,024 bytes, many times what a quantile takes, and short enough to stand
    /// in the line of a request.
    pub const START_QUERY_BYTES_MAX: usize = 1_024;

    /// Makes a policy of a timeout.
    #[must_use]
    pub fn new(timeout: Setting<Timeout>) -> Self {
        Self {
            timeout,
            permit_share: Share::new(Self::DEFAULT_PERMIT_SHARE).expect("a half is a share"),
            start: None,
            start_query: None,
            body_idle: Self::DEFAULT_BODY_IDLE,
            body_total: None,
            shadow: false,
        }
    }
}

// === impl AdmissionPolicy ===

impl AdmissionPolicy {
    /// 100 requests, some hundred kilobytes: enough to ride out a burst of a tenth of a second at
    /// 1,000 requests a second, and not so long that the last one has no chance.
    pub const DEFAULT_QUEUE: Count = Count::known(100);

    /// Makes an admission without guarantees.
    #[must_use]
    pub fn new(permits: Setting<Count>, queue_wait: Timeout) -> Self {
        Self {
            permits,
            queue: Self::DEFAULT_QUEUE,
            queue_wait,
            guaranteed: BTreeMap::new(),
            shadow: false,
        }
    }
}

// === impl BreakerPolicy ===

impl BreakerPolicy {
    /// 20 calls: below, a single failure is more than 5 % and chance looks like an outage.
    pub const DEFAULT_MIN_CALLS: Count = Count::known(20);

    /// 10 s: long enough for `min_calls` at two a second, short enough that an outage shows
    /// within seconds.
    pub const DEFAULT_WINDOW: Timeout = Timeout::known_millis(10_000);

    /// 10 probes: enough to tell one failure in ten from a target that is down.
    pub const DEFAULT_HALF_OPEN: Count = Count::known(10);

    /// 5 s: a process that is started again is back by then, and a blink of the network is over.
    pub const DEFAULT_OPEN: Timeout = Timeout::known_millis(5_000);

    /// 60 s: what is back after a long outage is found within a minute, and one round of probes a
    /// minute burdens nobody.
    pub const DEFAULT_OPEN_LONGEST: Timeout = Timeout::known_millis(60_000);

    /// 10 s: caches and pools of a target that has just come back fill before all calls are there.
    pub const DEFAULT_RAMP: Timeout = Timeout::known_millis(10_000);

    /// Makes a breaker that has no reason to trip yet: set at least one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            failure_share: None,
            slow: None,
            consecutive: None,
            min_calls: Self::DEFAULT_MIN_CALLS,
            window: Self::DEFAULT_WINDOW,
            half_open: Self::DEFAULT_HALF_OPEN,
            open: Self::DEFAULT_OPEN,
            open_longest: Self::DEFAULT_OPEN_LONGEST,
            ramp: Self::DEFAULT_RAMP,
            shadow: false,
        }
    }
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self::new()
    }
}

// === impl RetryPolicy ===

impl RetryPolicy {
    /// 50 ms: longer than most of what fails by chance needs to be right again, and not noticed by
    /// people.
    pub const DEFAULT_FIRST_WAIT: Timeout = Timeout::known_millis(50);

    /// 1 s: a caller that waits for longer is better told.
    pub const DEFAULT_LONGEST_WAIT: Timeout = Timeout::known_millis(1_000);

    /// How many retries a window may have beside its share, in every retry policy: see
    /// [`RetryBudget::DEFAULT_RESERVE`].
    pub const RESERVE: u32 = RetryBudget::DEFAULT_RESERVE;

    /// Makes a retry policy with a budget.
    #[must_use]
    pub fn new(attempts: Attempts, budget: Share) -> Self {
        Self {
            attempts,
            budget: Some(budget),
            first_wait: Self::DEFAULT_FIRST_WAIT,
            longest_wait: Self::DEFAULT_LONGEST_WAIT,
            unsafe_methods: false,
        }
    }

    /// Returns the longest time that all waits between the attempts take together.
    pub(super) fn waits(&self) -> Duration {
        let (first, longest) = (self.first_wait.get(), self.longest_wait.get());
        (1..u32::from(self.attempts.get()))
            .map(|retry| first.saturating_mul(1 << (retry - 1)).min(longest))
            .sum()
    }
}

// === impl HedgePolicy ===

impl HedgePolicy {
    /// Makes a hedge with a budget.
    #[must_use]
    pub fn new(delay: Setting<Timeout>, budget: Share) -> Self {
        Self {
            delay,
            budget: Some(budget),
        }
    }
}

// === impl RatePolicy ===

impl RatePolicy {
    /// Makes a quota that all clients share.
    #[must_use]
    pub fn new(requests: Count, period: Timeout, burst: Count) -> Self {
        Self {
            requests,
            period,
            burst,
            per_client: false,
            shadow: false,
        }
    }
}

// === impl StreamPolicy ===

impl StreamPolicy {
    /// Makes a budget of streams that may go on for as long as they move.
    #[must_use]
    pub fn new(connections: Count, idle: Timeout) -> Self {
        Self {
            connections,
            idle,
            total: None,
            shadow: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_of_all_retries_add_up_below_the_longest() {
        let check = |attempts, first_ms, longest_ms, expect_ms| {
            let mut retry =
                RetryPolicy::new(Attempts::new(attempts).unwrap(), Share::new(0.1).unwrap());
            retry.first_wait = Timeout::known_millis(first_ms);
            retry.longest_wait = Timeout::known_millis(longest_ms);
            assert_eq!(retry.waits(), Duration::from_millis(expect_ms));
        };

        check(1, 50, 1_000, 0);
        check(2, 50, 1_000, 50);
        check(4, 50, 1_000, 50 + 100 + 200);
        check(4, 50, 120, 50 + 100 + 120);
        check(10, 1_000, 2_000, 1_000 + 8 * 2_000);
    }
}
