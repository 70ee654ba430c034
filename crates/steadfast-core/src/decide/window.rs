//! How many events happened lately, exactly.
//!
//! "At most five restarts a minute" is easily written as a counter that is cleared every minute;
//! that rule lets ten through in two seconds around the moment of clearing. Averages and decaying
//! counters forget *when* things happened and are off by a fraction of the limit, which is all of
//! it when the limit is one or two. A [`Window`] keeps the instants themselves. A limit of `n`
//! needs only the newest `n + 1` of them, so memory is bounded and known when it is made.
//!
//! This is the arithmetic of a supervisor's restart intensity. For thousands of events a second
//! use a rate limiter: an instant costs eight bytes here.

use std::collections::VecDeque;
use std::time::Duration;

/// Counts the events of the last `period` and says when they are more than `limit`.
///
/// An event counts from its instant up to and including `period` later, so `limit` events in any
/// stretch of that length are within the limit and one more exceeds it, even when the first and
/// the last are exactly `period` apart.
///
/// Time is nanoseconds of one monotonic clock. Should `now` go backwards all the same, the window
/// treats it as the latest instant it has seen: nothing panics, no event is lost or counted
/// twice, and events may only look closer together than they were, so that the limit acts
/// earlier and never later.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use std::time::Duration;
/// use steadfast::decide::window::Window;
///
/// const SECOND: u64 = 1_000_000_000;
/// let mut restarts = Window::new(2, Duration::from_secs(5))?;
///
/// assert!(restarts.record(0));
/// assert!(restarts.record(SECOND));
/// assert!(!restarts.record(5 * SECOND), "a third one within five seconds");
/// assert_eq!(restarts.count(6 * SECOND), 2);
/// # Ok::<(), steadfast_core::decide::window::InvalidWindow>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    limit: u32,
    period_ns: u64,
    /// Ascending; never more than `limit + 1`, the newest ones.
    events: VecDeque<u64>,
    latest: u64,
}

/// Refuses a [`Window`] whose numbers are out of range.
///
/// The message names the bound. Trying again with the same numbers fails again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidWindow(#[from] Refusal);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("limit of {0} events is over the bound of {bound}", bound = Window::MAX_LIMIT)]
    Limit(u32),
    #[error("period is zero, it must be at least 1 ns")]
    ZeroPeriod,
    #[error("period {0:?} is over the bound of {bound:?}", bound = Window::MAX_PERIOD)]
    Period(Duration),
}

// === impl Window ===

impl Window {
    /// The most events a window may be asked to tell apart: 65,536, half a mebibyte.
    pub const MAX_LIMIT: u32 = 65_536;

    /// The longest period: 365 days, far beyond any process and far below where nanoseconds
    /// overflow.
    pub const MAX_PERIOD: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    /// Makes an empty window that allows `limit` events within any `period`.
    ///
    /// A limit of zero allows none: the first event exceeds it. Memory grows with the events seen,
    /// up to eight bytes for each of `limit + 1`.
    ///
    /// # Errors
    ///
    /// [`InvalidWindow`] if `limit` is over [`MAX_LIMIT`](Self::MAX_LIMIT), or `period` is zero or
    /// over [`MAX_PERIOD`](Self::MAX_PERIOD).
    pub fn new(limit: u32, period: Duration) -> Result<Self, InvalidWindow> {
        if limit > Self::MAX_LIMIT {
            return Err(Refusal::Limit(limit).into());
        }
        if period.is_zero() {
            return Err(Refusal::ZeroPeriod.into());
        }
        if period > Self::MAX_PERIOD {
            return Err(Refusal::Period(period).into());
        }
        Ok(Self {
            limit,
            period_ns: period.as_nanos() as u64,
            events: VecDeque::new(),
            latest: 0,
        })
    }

    /// Records an event at `now` and says whether the limit still holds, this event included.
    ///
    /// An event over the limit is recorded too: it happened.
    #[must_use = "the answer is whether the limit was exceeded"]
    pub fn record(&mut self, now: u64) -> bool {
        self.forget_old(now);
        if self.events.len() > self.limit as usize {
            self.events.pop_front();
        }
        self.events.push_back(self.latest);
        self.events.len() <= self.limit as usize
    }

    /// Returns how many events happened in the `period` that ends at `now`, at most `limit + 1`.
    ///
    /// `limit + 1` reads as *more than the limit*; how many more is not kept.
    pub fn count(&mut self, now: u64) -> u32 {
        self.forget_old(now);
        self.events.len() as u32
    }

    /// Forgets every event.
    pub fn clear(&mut self) {
        self.events.clear();
    }

    /// Returns the most events that are within the limit.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Returns the length of the window.
    #[must_use]
    pub fn period(&self) -> Duration {
        Duration::from_nanos(self.period_ns)
    }

    fn forget_old(&mut self, now: u64) {
        self.latest = self.latest.max(now);
        while let Some(&oldest) = self.events.front() {
            if self.latest - oldest <= self.period_ns {
                break;
            }
            self.events.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(limit: u32, period_ns: u64) -> Window {
        Window::new(limit, Duration::from_nanos(period_ns)).unwrap()
    }

    #[test]
    fn the_event_after_the_limit_exceeds_it() {
        let check = |limit: u32, instants: &[u64], expect: &[bool]| {
            let mut window = window(limit, 10);
            let answers: Vec<bool> = instants.iter().map(|&now| window.record(now)).collect();
            assert_eq!(answers, expect, "limit {limit}, events at {instants:?}");
        };

        check(0, &[5], &[false]);
        check(1, &[0, 10], &[true, false]);
        check(1, &[0, 11], &[true, true]);
        check(3, &[0, 0, 0, 0], &[true, true, true, false]);
        check(3, &[0, 4, 8, 11, 14], &[true, true, true, true, false]);
        check(
            2,
            &[0, 1, 2, 13, 14, 15],
            &[true, true, false, true, true, false],
        );
    }

    #[test]
    fn a_burst_around_the_turn_of_a_period_is_seen() {
        let mut window = window(5, 60);

        let first: Vec<bool> = (55..60).map(|now| window.record(now)).collect();
        let sixth = window.record(61);

        assert_eq!(first, [true; 5]);
        assert!(!sixth);
    }

    #[test]
    fn time_that_goes_backwards_acts_earlier_and_never_later() {
        let mut window = window(2, 10);
        assert!(window.record(100));

        assert!(window.record(0));
        assert_eq!(window.count(5), 2);
        assert!(!window.record(50));

        assert_eq!(window.count(110), 3);
        assert_eq!(window.count(111), 0);
    }

    #[test]
    fn a_cleared_window_has_forgotten() {
        let mut window = window(1, 10);
        assert!(window.record(0));

        window.clear();

        assert_eq!(window.count(0), 0);
        assert!(window.record(1));
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_their_bound() {
        let check = |limit, period, part: &str| {
            let message = Window::new(limit, period).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };

        check(
            Window::MAX_LIMIT + 1,
            Duration::from_secs(1),
            "bound of 65536",
        );
        check(1, Duration::ZERO, "at least 1 ns");
        check(1, Duration::MAX, "bound of 31536000s");
    }

    proptest! {
        #[test]
        fn answers_as_a_list_of_all_events_would(
            limit in 0..6_u32,
            period in 1..20_u64,
            steps in prop::collection::vec(0..8_u64, 0..60),
        ) {
            let mut window = window(limit, period);
            let mut all: Vec<u64> = Vec::new();
            let mut now = 0;

            for step in steps {
                now += step;
                all.push(now);
                let within = all.iter().filter(|&&at| now - at <= period).count();

                prop_assert_eq!(window.record(now), within <= limit as usize);
                prop_assert_eq!(window.count(now) as usize, within.min(limit as usize + 1));
                prop_assert!(window.events.len() <= limit as usize + 1);
            }
        }

        #[test]
        fn any_order_of_instants_is_survived_and_counted_as_if_time_stood_still(
            limit in 0..6_u32,
            instants: Vec<u64>,
        ) {
            let period = u64::from(u32::MAX);
            let mut given = window(limit, period);
            let mut clamped = window(limit, period);
            let mut latest = 0;

            for now in instants {
                latest = now.max(latest);
                prop_assert_eq!(given.record(now), clamped.record(latest));
            }
        }
    }
}
