//! The rule: how many cells over which time, and how many at once.

use std::time::Duration;

/// Says how many requests may come over time, and how many of them at once.
///
/// `cells` a `period` flow in evenly, one every `period / cells`; up to `burst` of them are kept
/// for later. A request takes one cell, or as many as it is said to cost.
///
/// Rate and burst have no default: both are promises to somebody.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use std::time::Duration;
/// use steadfast::decide::rate::{Quota, RateLimiter};
///
/// const SECOND: u64 = 1_000_000_000;
/// let limiter = RateLimiter::new(Quota::new(2, Duration::from_secs(1), 3)?);
///
/// for _ in 0..3 {
///     assert!(limiter.check(SECOND, 1).is_allowed());
/// }
/// let answer = limiter.check(SECOND, 1);
/// assert!(!answer.is_allowed());
/// assert_eq!(answer.retry_after(), Some(Duration::from_millis(500)));
/// assert_eq!(answer.retry_after_secs(), Some(1), "for Retry-After, never early");
/// # Ok::<(), steadfast_core::decide::rate::InvalidQuota>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Time of one cell, rounded up to a whole nanosecond, so that the quota is never exceeded.
    cell_ns: u64,
    burst: u32,
}

/// Answers one request: whether it passes, and what its client should know.
///
/// For the HTTP fields: `RateLimit-Policy` is [`Quota::burst`] as `q` with
/// [`Quota::refill_secs`] as `w`; `RateLimit` is [`remaining`](Self::remaining) as `r` with
/// [`reset_secs`](Self::reset_secs) as `t`; `Retry-After` is
/// [`retry_after_secs`](Self::retry_after_secs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    verdict: Verdict,
    limit: u32,
    remaining: u32,
    reset_ns: u64,
}

/// Says whether a request passes, and if not, whether it ever will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The cells were there and are taken.
    Allowed,
    /// The cells are not there yet; nothing was taken.
    Rejected {
        /// After this time, to the nanosecond, the request passes if nobody else took the cells.
        retry_after: Duration,
    },
    /// The request costs more than the burst and can never pass; nothing was taken.
    NeverFits,
}

/// Refuses a [`Quota`] whose numbers are out of range.
///
/// The message names the bound. Trying again with the same numbers fails again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidQuota(#[from] Refusal);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("{0} cells are no quota, it takes at least 1")]
    NoCells(u32),
    #[error(
        "{cells} cells in {period:?} are more than one each {bound:?}",
        bound = Quota::SHORTEST_CELL
    )]
    TooFast { cells: u32, period: Duration },
    #[error("burst of {0} is not from 1 to {bound}", bound = Quota::MAX_BURST)]
    Burst(u32),
    #[error(
        "burst of {burst} needs {refill:?} to refill, over the bound of {bound:?}",
        bound = Quota::LONGEST_REFILL
    )]
    Refill { burst: u32, refill: Duration },
}

// === impl Quota ===

impl Quota {
    /// The shortest time of a cell: a microsecond, so a million cells a second.
    ///
    /// Times are whole nanoseconds; at this bound rounding costs a client at most 0.1 % of its
    /// quota, and a caller that needs more takes several cells at once.
    pub const SHORTEST_CELL: Duration = Duration::from_micros(1);

    /// The greatest burst: a million cells.
    ///
    /// Whoever saves up more than that in one go is not limited in any useful sense.
    pub const MAX_BURST: u32 = 1_000_000;

    /// The longest time in which an empty bucket refills: 31 days, a quota per month.
    ///
    /// State lives in memory and ends with the process: a longer quota belongs into a store.
    pub const LONGEST_REFILL: Duration = Duration::from_secs(31 * 24 * 60 * 60);

    /// Makes a quota of `cells` in each `period`, of which up to `burst` may come at once.
    ///
    /// # Errors
    ///
    /// [`InvalidQuota`] if there are no cells, if they come faster than one each
    /// [`SHORTEST_CELL`](Self::SHORTEST_CELL), if the burst is zero or over
    /// [`MAX_BURST`](Self::MAX_BURST), or if an empty bucket would need longer than
    /// [`LONGEST_REFILL`](Self::LONGEST_REFILL) to refill.
    pub fn new(cells: u32, period: Duration, burst: u32) -> Result<Self, InvalidQuota> {
        if cells == 0 {
            return Err(Refusal::NoCells(cells).into());
        }
        if burst == 0 || burst > Self::MAX_BURST {
            return Err(Refusal::Burst(burst).into());
        }
        let shortest = u128::from(cells) * Self::SHORTEST_CELL.as_nanos();
        if period.as_nanos() < shortest {
            return Err(Refusal::TooFast { cells, period }.into());
        }
        let cell_ns = period.as_nanos().div_ceil(u128::from(cells));
        let refill_ns = cell_ns.saturating_mul(u128::from(burst));
        if refill_ns > Self::LONGEST_REFILL.as_nanos() {
            let refill = Duration::from_nanos(u64::try_from(refill_ns).unwrap_or(u64::MAX));
            return Err(Refusal::Refill { burst, refill }.into());
        }
        Ok(Self {
            cell_ns: cell_ns as u64,
            burst,
        })
    }

    /// Returns the most cells that may be taken at once.
    #[must_use]
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// Returns the time in which one cell flows in.
    #[must_use]
    pub fn cell_time(&self) -> Duration {
        Duration::from_nanos(self.cell_ns)
    }

    /// Returns the time in which an empty bucket is full again, in whole seconds, rounded up.
    #[must_use]
    pub fn refill_secs(&self) -> u64 {
        whole_secs(self.refill_ns())
    }

    /// Judges a request at `now` against a bucket that is full at the instant `full_at`.
    ///
    /// Gives the answer, and the new instant if cells were taken.
    pub(super) fn judge(&self, full_at: u64, now: u64, cost: u32) -> (Answer, Option<u64>) {
        let from = full_at.max(now);
        let horizon = now.saturating_add(self.refill_ns());
        // Below 2^20 times 2^52: the cost is checked before the product is used.
        let next = from.saturating_add(u64::from(cost).saturating_mul(self.cell_ns));
        if cost > self.burst {
            (self.answer(Verdict::NeverFits, from, now), None)
        } else if next <= horizon {
            (self.answer(Verdict::Allowed, next, now), Some(next))
        } else {
            let retry_after = Duration::from_nanos(next - horizon);
            (
                self.answer(Verdict::Rejected { retry_after }, from, now),
                None,
            )
        }
    }

    /// Carries a bucket over from another quota: as many cells are missing as were, but never more
    /// than there are.
    pub(super) fn carry_over(&self, from: &Quota, full_at: u64, now: u64) -> u64 {
        let missing_ns = u128::from(full_at.saturating_sub(now));
        let scaled = missing_ns * u128::from(self.cell_ns) / u128::from(from.cell_ns);
        let bounded = scaled.min(u128::from(self.refill_ns())) as u64;
        now.saturating_add(bounded)
    }

    pub(super) fn refill_ns(&self) -> u64 {
        self.cell_ns * u64::from(self.burst)
    }

    fn answer(&self, verdict: Verdict, full_at: u64, now: u64) -> Answer {
        let reset_ns = full_at.saturating_sub(now);
        let free_ns = self.refill_ns().saturating_sub(reset_ns);
        Answer {
            verdict,
            limit: self.burst,
            // At most the burst, which is 32 bits.
            remaining: (free_ns / self.cell_ns) as u32,
            reset_ns,
        }
    }
}

// === impl Answer ===

impl Answer {
    /// Says whether the request passes.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.verdict == Verdict::Allowed
    }

    /// Returns the verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Returns the most cells the bucket holds.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Returns the cells that are left after this request.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.remaining
    }

    /// Returns the time until the bucket is full, if nothing more is taken.
    #[must_use]
    pub fn reset(&self) -> Duration {
        Duration::from_nanos(self.reset_ns)
    }

    /// Returns [`reset`](Self::reset) in whole seconds, rounded up.
    #[must_use]
    pub fn reset_secs(&self) -> u64 {
        whole_secs(self.reset_ns)
    }

    /// Returns when to come again, or `None` if the request passed or never will.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.verdict {
            Verdict::Rejected { retry_after } => Some(retry_after),
            Verdict::Allowed | Verdict::NeverFits => None,
        }
    }

    /// Returns [`retry_after`](Self::retry_after) in whole seconds, rounded up, so at least 1.
    #[must_use]
    pub fn retry_after_secs(&self) -> Option<u64> {
        // The refill time bounds it far below 2^64 nanoseconds.
        self.retry_after()
            .map(|wait| whole_secs(wait.as_nanos() as u64))
    }
}

fn whole_secs(nanos: u64) -> u64 {
    nanos.div_ceil(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_tells_what_is_left_and_when_it_is_back() {
        let quota = Quota::new(2, SECOND, 4).unwrap();
        let check = |missing_ms: u64, cost, remaining, reset_ms, retry_ms: Option<u64>| {
            let now = 7_000_000_000;
            let full_at = now + missing_ms * 1_000_000;
            let (answer, _) = quota.judge(full_at, now, cost);
            let seen = (answer.remaining(), answer.reset(), answer.retry_after());
            let expect = (
                remaining,
                Duration::from_millis(reset_ms),
                retry_ms.map(Duration::from_millis),
            );
            assert_eq!(seen, expect, "{missing_ms} ms missing, cost {cost}");
            assert_eq!(answer.limit(), 4);
        };

        check(0, 1, 3, 500, None);
        check(0, 4, 0, 2_000, None);
        check(400, 3, 0, 1_900, None);
        check(600, 3, 2, 600, Some(100));
        check(1_999, 1, 0, 1_999, Some(499));
        check(2_000, 1, 0, 2_000, Some(500));
        check(2_000, 4, 0, 2_000, Some(2_000));
        check(0, 5, 4, 0, None);
    }

    #[test]
    fn what_costs_more_than_the_burst_never_fits() {
        let quota = Quota::new(1, SECOND, 3).unwrap();

        let (answer, taken) = quota.judge(0, 0, 4);

        assert_eq!(answer.verdict(), Verdict::NeverFits);
        assert_eq!((taken, answer.retry_after_secs()), (None, None));
    }

    #[test]
    fn whole_seconds_are_never_early() {
        let quota = Quota::new(1, Duration::from_millis(1_500), 2).unwrap();
        let (answer, _) = quota.judge(3_000_000_000, 0, 1);

        assert_eq!(answer.retry_after(), Some(Duration::from_millis(1_500)));
        assert_eq!(answer.retry_after_secs(), Some(2));
        assert_eq!((answer.reset_secs(), quota.refill_secs()), (3, 3));
    }

    #[test]
    fn a_changed_quota_keeps_the_missing_cells() {
        let slow = Quota::new(1, SECOND, 10).unwrap();
        let fast = Quota::new(10, SECOND, 4).unwrap();
        let check = |from: &Quota, to: &Quota, missing: Duration, expect: Duration| {
            let carried = to.carry_over(from, 50 + missing.as_nanos() as u64, 50);
            assert_eq!(Duration::from_nanos(carried - 50), expect);
        };

        check(&slow, &fast, SECOND * 3, SECOND * 3 / 10);
        check(&slow, &fast, SECOND * 9, SECOND * 4 / 10);
        check(&fast, &slow, SECOND * 4 / 10, SECOND * 4);
        check(&slow, &slow, Duration::ZERO, Duration::ZERO);
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_their_bound() {
        let check = |cells, period, burst, part: &str| {
            let message = Quota::new(cells, period, burst).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };

        check(0, SECOND, 1, "at least 1");
        check(1_000_001, SECOND, 1, "more than one each 1µs");
        check(1, Duration::ZERO, 1, "more than one each 1µs");
        check(1, SECOND, 0, "from 1 to 1000000");
        check(1, SECOND, 1_000_001, "from 1 to 1000000");
        check(1, Duration::MAX, 1, "bound of 2678400s");
        check(1, SECOND * 3_600, 24 * 31 + 1, "bound of 2678400s");
        assert!(Quota::new(1_000_000, SECOND, 1_000_000).is_ok());
        assert!(Quota::new(u32::MAX, Duration::from_secs(86_400 * 31), 1).is_ok());
    }

    pub(super) fn any_quota() -> impl Strategy<Value = Quota> {
        (1..50_u32, 1_000..5_000_u64, 1..20_u32).prop_map(|(cells, period_us, burst)| {
            Quota::new(cells, Duration::from_micros(period_us), burst).unwrap()
        })
    }

    proptest! {
        #[test]
        fn a_retry_is_neither_early_nor_late(
            quota in any_quota(),
            now in 0..u64::MAX / 2,
            missing in 0.0..=1.0_f64,
            cost in 1..20_u32,
        ) {
            let cost = cost.min(quota.burst());
            let full_at = now + (quota.refill_ns() as f64 * missing) as u64;

            if let Some(wait) = quota.judge(full_at, now, cost).0.retry_after() {
                let then = now + wait.as_nanos() as u64;
                prop_assert!(!quota.judge(full_at, then - 1, cost).0.is_allowed());
                prop_assert!(quota.judge(full_at, then, cost).0.is_allowed());
            }
        }

        #[test]
        fn what_remains_can_be_taken_at_once_and_no_more(
            quota in any_quota(),
            now in 0..u64::MAX / 2,
            missing in 0.0..=1.0_f64,
        ) {
            let full_at = now + (quota.refill_ns() as f64 * missing) as u64;
            let remaining = quota.judge(full_at, now, quota.burst() + 1).0.remaining();

            prop_assert!(remaining == 0 || quota.judge(full_at, now, remaining).0.is_allowed());
            prop_assert!(!quota.judge(full_at, now, remaining + 1).0.is_allowed());
        }

        #[test]
        fn no_instant_overflows(quota in any_quota(), full_at: u64, now: u64, cost: u32) {
            let (answer, taken) = quota.judge(full_at, now, cost);

            prop_assert!(answer.remaining() <= quota.burst());
            prop_assert!(taken.is_none_or(|next| next >= now));
            quota.carry_over(&quota, full_at, now);
        }

        #[test]
        fn the_cells_of_a_period_are_never_more_than_promised(
            cells in 1..2_000_u32,
            period_us in 2_000..10_000_000_u64,
        ) {
            let period = Duration::from_micros(period_us);
            let quota = Quota::new(cells, period, 1).unwrap();

            prop_assert!(quota.cell_time() * cells >= period);
            prop_assert!(quota.cell_time() * cells - period < Duration::from_nanos(cells.into()));
        }
    }
}
