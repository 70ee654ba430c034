//! How long to wait before the next attempt.
//!
//! A failed call that is repeated at once hits a service that is still down, and everybody who
//! failed with it comes back in the same instant. Doubling the wait slows each caller down, but
//! callers that failed together still return together, in ever rarer and ever higher waves. The
//! random part, the *jitter*, is what takes the waves apart.
//!
//! [`Backoff`] is the rule: a first wait, a growth factor, a longest wait and a [`Jitter`]. Its
//! [`delay`](Backoff::delay) is a function of the number of failures and of 64 random bits, and
//! of nothing else. [`BackoffState`] counts the failures for a caller that wants to keep only one
//! value, and forgets them after a healthy period.
//!
//! *Decorrelated* jitter, where each wait is drawn between the first wait and three times the one
//! before, is left out on purpose: its wait depends on the whole history of draws, so it can be
//! neither recomputed from a stored attempt number nor bounded below the cap for a known attempt,
//! and it spreads callers no better than [`Jitter::Full`].

use std::time::Duration;

/// Says how long to wait after how many failures.
///
/// The n-th failure has a *ceiling* of `base × factorⁿ⁻¹`, never more than `max`; the
/// [`Jitter`] draws the wait below or at that ceiling. The defaults: factor 2 and
/// [`Jitter::Full`]; a healthy period as long as `max`.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use std::time::Duration;
/// use steadfast::decide::backoff::{Backoff, Jitter};
///
/// let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1))?
///     .with_jitter(Jitter::None);
///
/// let waits: Vec<u128> = (1..=6).map(|n| backoff.delay(n, 0).as_millis()).collect();
///
/// assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
/// # Ok::<(), steadfast_core::decide::backoff::InvalidBackoff>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    base_ns: u64,
    max_ns: u64,
    factor: f64,
    jitter: Jitter,
    healthy_for: Duration,
}

/// Names the random part of a wait.
///
/// With ceiling `c` in nanoseconds, every draw is uniform over the whole nanoseconds of a closed
/// range: the chances of any two of them differ by at most 2⁻⁶⁴.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Jitter {
    /// Draws from `0..=c`: mean `c / 2`.
    ///
    /// The default, because it spreads callers that failed together over the widest range, and so
    /// needs the fewest calls until all of them are through. A single wait may be close to zero;
    /// the next ceilings grow all the same.
    #[default]
    Full,
    /// Draws from `c / 2..=c`: mean `3c / 4`.
    ///
    /// For a caller that must never come back at once, such as a restart whose start-up is
    /// expensive, at the price of half the spread.
    Equal,
    /// Waits exactly `c`.
    ///
    /// For a lone caller, or where another part already spreads the callers.
    None,
}

/// Counts consecutive failures and draws their waits.
///
/// Made by [`Backoff::state`]. Holds the rule and one counter; a copy goes its own way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BackoffState {
    backoff: Backoff,
    failures: u32,
}

/// Refuses a [`Backoff`] whose numbers are out of range.
///
/// The message names the bound. Trying again with the same numbers fails again.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidBackoff(#[from] Refusal);

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
enum Refusal {
    #[error("first wait is zero, it must be at least 1 ns")]
    ZeroBase,
    #[error("longest wait {max:?} is shorter than the first wait {base:?}")]
    MaxBelowBase { base: Duration, max: Duration },
    #[error("longest wait {0:?} is over the bound of {bound:?}", bound = Backoff::LONGEST)]
    MaxTooLong(Duration),
    #[error(
        "growth factor {0} is neither 1 nor from {least} to {most}",
        least = Backoff::LEAST_FACTOR,
        most = Backoff::MOST_FACTOR
    )]
    Factor(f64),
    #[error("healthy period is zero, so that no failure would ever be remembered")]
    ZeroHealthy,
}

// === impl Backoff ===

impl Backoff {
    /// The longest wait that any backoff may be given: 30 days.
    ///
    /// Whoever waits longer has a schedule and should say so; and all arithmetic below this
    /// bound is exact in 64 bits.
    pub const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

    /// The least factor that grows: 1.1.
    ///
    /// Below it the wait hardly grows within a day of failures, which is a constant wait with
    /// extra steps. A constant wait is factor 1.
    pub const LEAST_FACTOR: f64 = 1.1;

    /// The greatest factor: 16, which spans from a millisecond to a day in seven failures.
    pub const MOST_FACTOR: f64 = 16.0;

    /// Makes a backoff that doubles from `base` up to `max`, with full jitter.
    ///
    /// # Errors
    ///
    /// [`InvalidBackoff`] if `base` is zero (that would be a busy loop), if `max` is shorter than
    /// `base`, or longer than [`LONGEST`](Self::LONGEST).
    pub fn new(base: Duration, max: Duration) -> Result<Self, InvalidBackoff> {
        if base.is_zero() {
            return Err(Refusal::ZeroBase.into());
        }
        if max < base {
            return Err(Refusal::MaxBelowBase { base, max }.into());
        }
        if max > Self::LONGEST {
            return Err(Refusal::MaxTooLong(max).into());
        }
        Ok(Self {
            base_ns: bounded_nanos(base),
            max_ns: bounded_nanos(max),
            factor: 2.0,
            jitter: Jitter::default(),
            healthy_for: max,
        })
    }

    /// Sets by how much the ceiling grows with each failure; 2 unless set.
    ///
    /// A factor of 1 keeps every ceiling at the first wait.
    ///
    /// # Errors
    ///
    /// [`InvalidBackoff`] unless the factor is 1, or lies between
    /// [`LEAST_FACTOR`](Self::LEAST_FACTOR) and [`MOST_FACTOR`](Self::MOST_FACTOR).
    pub fn with_factor(mut self, factor: f64) -> Result<Self, InvalidBackoff> {
        if factor != 1.0 && !(Self::LEAST_FACTOR..=Self::MOST_FACTOR).contains(&factor) {
            return Err(Refusal::Factor(factor).into());
        }
        self.factor = factor;
        Ok(self)
    }

    /// Sets the random part; [`Jitter::Full`] unless set.
    #[must_use]
    pub fn with_jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets how long something must have worked before its failures are forgotten; as long as
    /// the longest wait unless set.
    ///
    /// The default's reason: what has worked for longer than we were ever willing to wait is a
    /// new failure when it fails, not the old one.
    ///
    /// # Errors
    ///
    /// [`InvalidBackoff`] if the period is zero: then no failure would ever count.
    pub fn with_healthy_for(mut self, healthy_for: Duration) -> Result<Self, InvalidBackoff> {
        if healthy_for.is_zero() {
            return Err(Refusal::ZeroHealthy.into());
        }
        self.healthy_for = healthy_for;
        Ok(self)
    }

    /// Returns the wait after the `attempt`-th failure in a row.
    ///
    /// `attempt` counts the failures so far, from 1; with 0 nothing has failed and the wait is
    /// zero. `random` must be 64 uniform random bits, fresh for each call, or the callers are not
    /// spread. The same arguments always give the same wait; it never exceeds the longest wait,
    /// whatever the attempt.
    #[must_use]
    pub fn delay(&self, attempt: u32, random: u64) -> Duration {
        let ceiling = self.ceiling_ns(attempt);
        let wait = match self.jitter {
            Jitter::Full => scale(random, ceiling),
            Jitter::Equal => {
                let spread = ceiling / 2;
                (ceiling - spread) + scale(random, spread)
            }
            Jitter::None => ceiling,
        };
        Duration::from_nanos(wait)
    }

    /// Returns the longest wait that [`delay`](Self::delay) can give after the `attempt`-th
    /// failure.
    #[must_use]
    pub fn ceiling(&self, attempt: u32) -> Duration {
        Duration::from_nanos(self.ceiling_ns(attempt))
    }

    /// Starts to count failures, none so far.
    #[must_use]
    pub fn state(self) -> BackoffState {
        BackoffState {
            backoff: self,
            failures: 0,
        }
    }

    fn ceiling_ns(&self, attempt: u32) -> u64 {
        if attempt == 0 {
            return 0;
        }
        if self.factor == 1.0 {
            return self.base_ns;
        }
        // Repeated multiplication instead of `powi`, whose result may differ between platforms.
        // With the least factor the cap is reached within 400 rounds, so the loop is short for
        // any attempt.
        let max = self.max_ns as f64;
        let mut ceiling = self.base_ns as f64;
        for _ in 1..attempt {
            ceiling *= self.factor;
            if ceiling >= max {
                return self.max_ns;
            }
        }
        (ceiling as u64).min(self.max_ns)
    }
}

/// Restarts and reconnects that have no reason of their own: 100 ms, doubling to 30 s, full
/// jitter.
///
/// The first wait is long enough for a port or a lock to be released and too short for a person
/// to notice; the longest is what a client of a restarted dependency may add to its outage.
impl Default for Backoff {
    fn default() -> Self {
        Self {
            base_ns: 100_000_000,
            max_ns: 30_000_000_000,
            factor: 2.0,
            jitter: Jitter::default(),
            healthy_for: Duration::from_secs(30),
        }
    }
}

// === impl BackoffState ===

impl BackoffState {
    /// Counts one more failure and returns the wait that follows it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use steadfast_core as steadfast;
    /// use std::time::Duration;
    /// use steadfast::decide::backoff::{Backoff, Jitter};
    ///
    /// let mut state = Backoff::new(Duration::from_secs(1), Duration::from_secs(8))?
    ///     .with_jitter(Jitter::None)
    ///     .state();
    ///
    /// assert_eq!(state.next(0), Duration::from_secs(1));
    /// assert_eq!(state.next(0), Duration::from_secs(2));
    ///
    /// // It worked for longer than the healthy period (8 s here): start over.
    /// state.worked_for(Duration::from_secs(9));
    /// assert_eq!(state.next(0), Duration::from_secs(1));
    /// # Ok::<(), steadfast_core::decide::backoff::InvalidBackoff>(())
    /// ```
    pub fn next(&mut self, random: u64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.backoff.delay(self.failures, random)
    }

    /// Forgets all failures, as after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Forgets all failures if what is watched worked for at least the healthy period.
    ///
    /// Call it with the length of the last good stretch, before [`next`](Self::next). A shorter
    /// stretch changes nothing, so that what fails a second after each start still backs off.
    pub fn worked_for(&mut self, stretch: Duration) {
        if stretch >= self.backoff.healthy_for {
            self.reset();
        }
    }

    /// Returns the failures counted since the last reset.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// Converts a duration that is known to be at most [`Backoff::LONGEST`].
fn bounded_nanos(duration: Duration) -> u64 {
    debug_assert!(duration <= Backoff::LONGEST);
    duration.as_nanos() as u64
}

/// Maps 64 uniform bits onto `0..=width`, every value but for rounding equally often.
fn scale(random: u64, width: u64) -> u64 {
    // The product is below 2^64 × 2^64, so neither it nor the shifted result can overflow.
    ((u128::from(random) * (u128::from(width) + 1)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(base: u64, max: u64) -> Backoff {
        Backoff::new(Duration::from_secs(base), Duration::from_secs(max)).unwrap()
    }

    #[test]
    fn ceilings_grow_by_the_factor_up_to_the_longest_wait() {
        let check = |factor: f64, expect: [u64; 5]| {
            let backoff = seconds(2, 50).with_factor(factor).unwrap();
            let ceilings: Vec<u64> = (1..=5).map(|n| backoff.ceiling(n).as_secs()).collect();
            assert_eq!(ceilings, expect, "factor {factor}");
        };

        check(1.0, [2, 2, 2, 2, 2]);
        check(1.5, [2, 3, 4, 6, 10]);
        check(2.0, [2, 4, 8, 16, 32]);
        check(3.0, [2, 6, 18, 50, 50]);
    }

    #[test]
    fn each_jitter_reaches_both_ends_of_its_range() {
        let check = |jitter, least, most| {
            let backoff = seconds(8, 60).with_jitter(jitter);
            assert_eq!(
                backoff.delay(1, 0),
                Duration::from_secs(least),
                "{jitter:?}"
            );
            assert_eq!(
                backoff.delay(1, u64::MAX),
                Duration::from_secs(most),
                "{jitter:?}"
            );
        };

        check(Jitter::Full, 0, 8);
        check(Jitter::Equal, 4, 8);
        check(Jitter::None, 8, 8);
    }

    #[test]
    fn draws_are_uniform_over_the_range() {
        let backoff = seconds(10, 10);
        let mut buckets = [0_u32; 10];

        for step in 0..1_000_u64 {
            let random = step * (u64::MAX / 1_000);
            let wait = backoff.delay(1, random).as_millis();
            buckets[(wait / 1_000) as usize] += 1;
        }

        assert_eq!(buckets, [100; 10]);
    }

    #[test]
    fn nothing_is_waited_for_before_the_first_failure() {
        for jitter in [Jitter::Full, Jitter::Equal, Jitter::None] {
            let backoff = seconds(8, 60).with_jitter(jitter);
            assert_eq!(backoff.delay(0, u64::MAX), Duration::ZERO);
        }
    }

    #[test]
    fn a_stretch_shorter_than_the_healthy_period_keeps_the_failures() {
        let mut state = seconds(1, 60)
            .with_healthy_for(Duration::from_secs(5))
            .unwrap()
            .state();
        state.next(0);
        state.next(0);

        state.worked_for(Duration::from_nanos(4_999_999_999));
        assert_eq!(state.failures(), 2);

        state.worked_for(Duration::from_secs(5));
        assert_eq!(state.failures(), 0);
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_their_bound() {
        let second = Duration::from_secs(1);
        let check = |made: Result<Backoff, InvalidBackoff>, part: &str| {
            let message = made.unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };

        check(Backoff::new(Duration::ZERO, second), "at least 1 ns");
        check(
            Backoff::new(second, Duration::ZERO),
            "shorter than the first wait 1s",
        );
        check(Backoff::new(second, Duration::MAX), "bound of 2592000s");
        check(seconds(1, 2).with_factor(0.5), "from 1.1 to 16");
        check(seconds(1, 2).with_factor(1.05), "from 1.1 to 16");
        check(seconds(1, 2).with_factor(17.0), "from 1.1 to 16");
        check(seconds(1, 2).with_factor(f64::NAN), "NaN is neither 1");
        check(
            seconds(1, 2).with_healthy_for(Duration::ZERO),
            "healthy period is zero",
        );
    }

    fn any_backoff() -> impl Strategy<Value = Backoff> {
        let longest = Backoff::LONGEST.as_nanos() as u64;
        let jitter = prop_oneof![Just(Jitter::Full), Just(Jitter::Equal), Just(Jitter::None)];
        let factor = prop_oneof![Just(1.0), Backoff::LEAST_FACTOR..=Backoff::MOST_FACTOR];
        (1..=longest, 1..=longest, factor, jitter).prop_map(|(a, b, factor, jitter)| {
            Backoff::new(
                Duration::from_nanos(a.min(b)),
                Duration::from_nanos(a.max(b)),
            )
            .and_then(|backoff| backoff.with_factor(factor))
            .unwrap()
            .with_jitter(jitter)
        })
    }

    proptest! {
        #[test]
        fn a_wait_stays_within_its_jitter_range(
            backoff in any_backoff(),
            attempt in prop_oneof![0..100_u32, any::<u32>()],
            random: u64,
        ) {
            let ceiling = backoff.ceiling(attempt);
            let least = match backoff.jitter {
                Jitter::Full => Duration::ZERO,
                Jitter::Equal => ceiling / 2,
                Jitter::None => ceiling,
            };

            let wait = backoff.delay(attempt, random);

            prop_assert!(wait >= least && wait <= ceiling, "{least:?} {wait:?} {ceiling:?}");
            prop_assert!(ceiling.as_nanos() <= u128::from(backoff.max_ns));
        }

        #[test]
        fn ceilings_never_shrink_and_end_at_the_longest_wait(
            backoff in any_backoff(),
            attempt in 1..500_u32,
        ) {
            prop_assert!(backoff.ceiling(attempt) <= backoff.ceiling(attempt + 1));
            if backoff.factor > 1.0 {
                prop_assert_eq!(backoff.ceiling(u32::MAX), Duration::from_nanos(backoff.max_ns));
            }
        }

        #[test]
        fn more_random_bits_never_give_a_shorter_wait(
            backoff in any_backoff(),
            attempt in 0..100_u32,
            one: u64,
            other: u64,
        ) {
            let (low, high) = (one.min(other), one.max(other));
            prop_assert!(backoff.delay(attempt, low) <= backoff.delay(attempt, high));
        }

        #[test]
        fn the_state_draws_what_the_rule_says(backoff in any_backoff(), draws: Vec<u64>) {
            let mut state = backoff.state();
            for (index, random) in draws.into_iter().enumerate() {
                prop_assert_eq!(state.next(random), backoff.delay(index as u32 + 1, random));
            }
        }
    }
}
