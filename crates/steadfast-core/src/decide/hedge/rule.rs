//! The rule: after which delay, and whether at all.

use std::time::Duration;

use crate::decide::budget::{Replay, RetryBudget};
use crate::decide::sketch::{Histogram, Memory};

/// Decides whether and when a call gets a second attempt beside its first.
///
/// One serves one target. Many callers share it behind a lock, held for the few nanoseconds of an
/// answer; [`learn`](Self::learn) is called once a second.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use steadfast_core::decide::budget::Replay;
/// use steadfast_core::decide::hedge::{Hedge, HedgeCall, NoHedge};
/// use steadfast_core::decide::sketch::Histogram;
///
/// let mut hedge = Hedge::learned(0.02, Duration::from_millis(1), Duration::from_secs(1))?;
/// let call = HedgeCall::new(Replay::Safe, true);
/// assert_eq!(hedge.plan(&call), Err(NoHedge::Learning));
///
/// let mut second = Histogram::new();
/// for _ in 0..200 {
///     second.record(5_000_000);
///     hedge.count_success(0);
/// }
/// hedge.learn(&second);
///
/// let delay = hedge.plan(&call).unwrap();
/// assert!(delay >= Duration::from_millis(5) && delay < Duration::from_micros(5_200));
/// let sent = (0..10).filter(|_| hedge.send(&call, 0).is_ok()).count();
/// assert_eq!(sent, 4, "2 % of 200");
/// # Ok::<(), steadfast_core::decide::hedge::InvalidHedge>(())
/// ```
#[derive(Clone, Debug)]
pub struct Hedge {
    delay: Delay,
    quantile: f64,
    memory: Memory,
    budget: RetryBudget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delay {
    Fixed(Duration),
    Learned { least: Duration, most: Duration },
}

/// Describes a call as far as its hedge depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HedgeCall {
    replay: Replay,
    breaker_closed: bool,
    deadline: Option<u64>,
}

/// Says why a call has no second attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoHedge {
    /// It is not known to be safe to repeat.
    NotReplayable,
    /// The breaker of the target is not closed.
    BreakerNotClosed,
    /// Not enough calls have ended to know what takes long.
    Learning,
    /// Too little time is left until its deadline.
    Deadline,
    /// Too many calls are hedged already.
    BudgetSpent,
}

/// Refuses a [`Hedge`] whose numbers are out of range.
///
/// The message names the bound. Trying again with the same numbers fails again.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidHedge(#[from] Refusal);

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
enum Refusal {
    #[error("share of {0} is not over 0 and up to {most}", most = Hedge::MOST_SHARE)]
    Share(f64),
    #[error(
        "{name} {value:?} is not from {least:?} to {most:?}",
        least = Hedge::SHORTEST,
        most = Hedge::LONGEST
    )]
    Delay { name: &'static str, value: Duration },
    #[error("shortest delay {least:?} is over the longest {most:?}")]
    Swapped { least: Duration, most: Duration },
}

/// The part of the budget that usual calls are to spend; the rest is for seconds in which chance
/// wants more.
const SPENT: f64 = 0.8;

// === impl Hedge ===

impl Hedge {
    /// The greatest share of calls that may be hedged: 0.2. Who needs more needs more replicas.
    pub const MOST_SHARE: f64 = 0.2;

    /// The least quantile that the delay follows: 0.95.
    ///
    /// Below it, hedges go to calls that are not slow.
    pub const LEAST_QUANTILE: f64 = 0.95;

    /// How many calls must have ended before the first delay is learned: 100.
    pub const FIRST: f64 = 100.0;

    /// The shortest delay: 100 µs, which timers can still tell from none.
    pub const SHORTEST: Duration = Duration::from_micros(100);

    /// The longest delay: 1 minute.
    pub const LONGEST: Duration = Duration::from_secs(60);

    /// Learns the delay, from `shortest` to `longest`, and hedges up to `share` of the calls.
    ///
    /// # Errors
    ///
    /// [`InvalidHedge`] unless the share is over 0 and up to [`MOST_SHARE`](Self::MOST_SHARE), and
    /// the delays are from [`SHORTEST`](Self::SHORTEST) to [`LONGEST`](Self::LONGEST) and the
    /// right way round.
    pub fn learned(
        share: f64,
        shortest: Duration,
        longest: Duration,
    ) -> Result<Self, InvalidHedge> {
        check_delay("shortest delay", shortest)?;
        check_delay("longest delay", longest)?;
        if shortest > longest {
            return Err(Refusal::Swapped {
                least: shortest,
                most: longest,
            }
            .into());
        }
        let delay = Delay::Learned {
            least: shortest,
            most: longest,
        };
        Self::new(share, delay)
    }

    /// Hedges after a known delay, and up to `share` of the calls.
    ///
    /// # Errors
    ///
    /// As [`learned`](Self::learned).
    pub fn fixed(share: f64, delay: Duration) -> Result<Self, InvalidHedge> {
        check_delay("delay", delay)?;
        Self::new(share, Delay::Fixed(delay))
    }

    fn new(share: f64, delay: Delay) -> Result<Self, InvalidHedge> {
        if !(share > 0.0 && share <= Self::MOST_SHARE) {
            return Err(Refusal::Share(share).into());
        }
        let budget = RetryBudget::new(share).and_then(|budget| budget.with_reserve(0));
        Ok(Self {
            delay,
            quantile: Self::LEAST_QUANTILE.max(1.0 - SPENT * share),
            memory: Memory::new(),
            budget: budget.expect("the share is within the bounds of a budget"),
        })
    }

    /// Goes on with what another one has learned and counted: for numbers that change while running.
    #[must_use]
    pub fn taking_over(self, before: &Self) -> Self {
        Self {
            memory: before.memory.clone(),
            budget: self.budget.taking_over(&before.budget),
            ..self
        }
    }

    /// Learns from the times of calls that ended in one more second.
    ///
    /// The module says which times to record.
    pub fn learn(&mut self, second: &Histogram) {
        self.memory.learn(second);
    }

    /// Counts a call that succeeded at `now`, which pays into the budget; once, whichever attempt
    /// it was.
    pub fn count_success(&mut self, now: u64) {
        self.budget.count_success(now);
    }

    /// Returns the delay in force, or `None` while it is learned.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        match self.delay {
            Delay::Fixed(delay) => Some(delay),
            Delay::Learned { least, most } => {
                let enough = self.memory.mass() >= Self::FIRST;
                let slow_ns = enough.then(|| self.memory.quantile(self.quantile))??;
                Some(Duration::from_nanos(slow_ns).clamp(least, most))
            }
        }
    }

    /// Says after how long without an answer to ask whether to [`send`](Self::send) a hedge.
    ///
    /// # Errors
    ///
    /// Why this call has none.
    pub fn plan(&self, call: &HedgeCall) -> Result<Duration, NoHedge> {
        call.check()?;
        self.delay().ok_or(NoHedge::Learning)
    }

    /// Decides at `now`, when the delay is over, whether a second attempt is sent, and charges the
    /// budget for it.
    ///
    /// # Errors
    ///
    /// Why it is not; then nothing is charged.
    pub fn send(&mut self, call: &HedgeCall, now: u64) -> Result<(), NoHedge> {
        call.check()?;
        let usual_ns = self.memory.quantile(0.5).unwrap_or(0);
        let in_time = |deadline: u64| deadline.saturating_sub(now) > usual_ns;
        if !call.deadline.is_none_or(in_time) {
            return Err(NoHedge::Deadline);
        }
        if self.budget.take(now) {
            Ok(())
        } else {
            Err(NoHedge::BudgetSpent)
        }
    }
}

fn check_delay(name: &'static str, value: Duration) -> Result<(), Refusal> {
    if (Hedge::SHORTEST..=Hedge::LONGEST).contains(&value) {
        Ok(())
    } else {
        Err(Refusal::Delay { name, value })
    }
}

// === impl HedgeCall ===

impl HedgeCall {
    /// Describes a call without deadline. Say at each question anew whether the breaker
    /// [is closed](crate::decide::breaker::Breaker::is_closed); without one, it is.
    #[must_use]
    pub fn new(replay: Replay, breaker_closed: bool) -> Self {
        Self {
            replay,
            breaker_closed,
            deadline: None,
        }
    }

    /// Sets the instant after which nobody waits for an answer.
    #[must_use]
    pub fn with_deadline(mut self, deadline: u64) -> Self {
        self.deadline = Some(deadline);
        self
    }

    fn check(&self) -> Result<(), NoHedge> {
        if self.replay != Replay::Safe {
            return Err(NoHedge::NotReplayable);
        }
        if !self.breaker_closed {
            return Err(NoHedge::BreakerNotClosed);
        }
        Ok(())
    }
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MS;
    const CALL: HedgeCall = HedgeCall {
        replay: Replay::Safe,
        breaker_closed: true,
        deadline: None,
    };

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn hedge(share: f64) -> Hedge {
        Hedge::learned(share, millis(1), millis(1_000)).unwrap()
    }

    /// A second of calls: how many, and how long they take.
    fn second(hedge: &mut Hedge, calls: &[(u32, u64)], now: u64) {
        let mut seen = Histogram::new();
        for &(calls, ms) in calls {
            for _ in 0..calls {
                seen.record(ms * MS);
                hedge.count_success(now);
            }
        }
        hedge.learn(&seen);
    }

    fn delay_ms(hedge: &Hedge) -> f64 {
        hedge.delay().unwrap().as_secs_f64() * 1e3
    }

    #[test]
    fn the_delay_is_the_quantile_that_the_budget_can_pay() {
        let learned = |share| {
            let mut hedge = hedge(share);
            second(&mut hedge, &[(94, 10), (4, 20), (2, 300)], 0);
            delay_ms(&hedge)
        };

        assert!((20.0..20.7).contains(&learned(0.05)), "95 %");
        assert!((20.0..20.7).contains(&learned(0.2)), "95 %, and not 84 %");
        assert!((300.0..310.0).contains(&learned(0.02)), "98.4 %");
    }

    #[test]
    fn a_delay_is_learned_from_a_hundred_calls_on_and_follows() {
        let mut hedge = hedge(0.05);
        second(&mut hedge, &[(99, 10)], 0);
        assert_eq!(hedge.plan(&CALL), Err(NoHedge::Learning));

        second(&mut hedge, &[(99, 10)], SECOND);
        assert!(hedge.plan(&CALL).is_ok());

        second(&mut hedge, &[(99, 400)], 2 * SECOND);
        assert!(delay_ms(&hedge) >= 400.0);
    }

    #[test]
    fn numbers_that_change_keep_what_was_learned_and_counted() {
        let mut before = hedge(0.05);
        second(&mut before, &[(200, 10)], 0);
        assert!(before.send(&CALL, 0).is_ok());

        let mut after = hedge(0.01).taking_over(&before);

        assert!(after.plan(&CALL).is_ok(), "nothing is learned anew");
        assert!(after.send(&CALL, 0).is_ok(), "the second of two");
        assert_eq!(after.send(&CALL, 0), Err(NoHedge::BudgetSpent));
    }

    #[test]
    fn the_delay_stays_between_its_bounds() {
        let mut hedge = hedge(0.05);
        second(&mut hedge, &[(200, 0)], 0);
        assert_eq!(hedge.delay(), Some(millis(1)));

        for _ in 0..3 {
            second(&mut hedge, &[(200, 9_000)], 0);
        }
        assert_eq!(hedge.delay(), Some(millis(1_000)));
        let fixed = Hedge::fixed(0.05, millis(30)).unwrap();
        assert_eq!(fixed.delay(), Some(millis(30)));
    }

    #[test]
    fn hedges_are_a_share_of_what_succeeded_and_there_is_no_reserve() {
        let mut hedge = hedge(0.02);
        assert_eq!(hedge.send(&CALL, 0), Err(NoHedge::BudgetSpent));
        second(&mut hedge, &[(250, 10)], 0);

        let sent = (0..99).filter(|_| hedge.send(&CALL, 0).is_ok()).count();

        assert_eq!(sent, 5);
        assert_eq!(hedge.send(&CALL, 11 * SECOND), Err(NoHedge::BudgetSpent));
    }

    #[test]
    fn what_must_not_be_hedged_is_not_and_costs_nothing() {
        let mut hedge = hedge(0.02);
        second(&mut hedge, &[(100, 10)], 0);
        let cases = [
            (HedgeCall::new(Replay::Unsafe, true), NoHedge::NotReplayable),
            (
                HedgeCall::new(Replay::Impossible, true),
                NoHedge::NotReplayable,
            ),
            (
                HedgeCall::new(Replay::Safe, false),
                NoHedge::BreakerNotClosed,
            ),
        ];

        for (call, why) in cases {
            assert_eq!(hedge.plan(&call), Err(why));
            assert_eq!(hedge.send(&call, 0), Err(why));
        }
        let late = CALL.with_deadline(10 * MS);
        assert!(hedge.plan(&late).is_ok(), "it may be answered before");
        assert_eq!(hedge.send(&late, MS), Err(NoHedge::Deadline));

        let in_time = CALL.with_deadline(20 * MS);
        let sent = (0..9).filter(|_| hedge.send(&in_time, MS).is_ok()).count();
        assert_eq!(sent, 2, "2 % of 100");
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_their_bound() {
        let check = |made: Result<Hedge, InvalidHedge>, part: &str| {
            let message = made.unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };

        check(
            Hedge::fixed(0.0, millis(1)),
            "share of 0 is not over 0 and up to 0.2",
        );
        check(Hedge::fixed(0.21, millis(1)), "0.21 is not");
        check(Hedge::fixed(f64::NAN, millis(1)), "NaN is not");
        check(
            Hedge::fixed(0.1, millis(0)),
            "delay 0ns is not from 100µs to 60s",
        );
        check(
            Hedge::learned(0.1, millis(1), Duration::MAX),
            "longest delay",
        );
        check(
            Hedge::learned(0.1, millis(2), millis(1)),
            "2ms is over the longest 1ms",
        );
    }

    proptest! {
        #[test]
        fn hedges_are_never_more_than_their_share_of_all_calls(
            share in 0.001..0.2_f64,
            calls in prop::collection::vec((0..SECOND / 10, any::<bool>()), 1..400),
        ) {
            let mut hedge = hedge(share);
            let (mut succeeded, mut sent, mut now) = (0_u32, 0_u32, 0);

            for (step, slow) in calls {
                now += step;
                if slow && hedge.send(&CALL, now).is_ok() {
                    sent += 1;
                }
                hedge.count_success(now);
                succeeded += 1;
                // The share is kept in millionths.
                prop_assert!(f64::from(sent) <= share * f64::from(succeeded) + 0.001);
            }
        }
    }
}
