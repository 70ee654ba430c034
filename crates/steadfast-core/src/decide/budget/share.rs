//! The share of traffic that may be retries.

use std::time::Duration;

/// Lets retries be a share of the calls that succeeded in the last window, and no more.
///
/// Counts successes and retries in ten parts of a sliding window. A retry is granted if, with it,
/// the retries of the window are at most `share` of its successes, and the reserve. What was not
/// used leaves with the window: an hour of health does not pay for a storm.
///
/// Successes pay, and not all calls, because retries of a target that answers nobody help nobody:
/// they are what it has to work off before it can answer again. When all calls fail for longer
/// than a window, retries fade to the reserve; the first answers bring them back. As no call
/// succeeds more than once, retries are never more than `share` of all calls either.
///
/// One budget serves one route or one target; a retry [takes from both](RetryBudget::take_all).
/// Many callers share it behind a lock, held for the few nanoseconds of a call.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::decide::budget::RetryBudget;
///
/// let mut budget = RetryBudget::new(0.1)?.with_reserve(0)?;
/// for _ in 0..20 {
///     budget.count_success(0);
/// }
///
/// let granted = (0..5).filter(|_| budget.take(0)).count();
/// assert_eq!(granted, 2, "a tenth of twenty");
/// # Ok::<(), steadfast_core::decide::budget::InvalidBudget>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    share_ppm: u32,
    reserve: u32,
    part_ns: u64,
    parts: [Part; RetryBudget::PARTS],
    /// Number of the newest part, counted from the start of the clock.
    newest: u64,
    sum: Part,
}

/// Tells how much of a [`RetryBudget`] is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudgetUse {
    /// Calls that succeeded in the window.
    pub successes: u64,
    /// Retries granted in the window.
    pub retries: u64,
    /// Retries that would be granted now.
    pub left: u64,
}

/// Refuses a [`RetryBudget`] whose numbers are out of range.
///
/// The message names the bound. Trying again with the same numbers fails again.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidBudget(#[from] Refusal);

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
enum Refusal {
    #[error("share of {0} is not from 0 to {most}", most = RetryBudget::MAX_SHARE)]
    Share(f64),
    #[error("reserve of {0} retries is over the bound of {bound}", bound = RetryBudget::MAX_RESERVE)]
    Reserve(u32),
    #[error(
        "window {0:?} is not from {least:?} to {most:?}",
        least = RetryBudget::SHORTEST_WINDOW,
        most = RetryBudget::LONGEST_WINDOW
    )]
    Window(Duration),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Part {
    successes: u64,
    retries: u64,
}

// === impl RetryBudget ===

impl RetryBudget {
    /// The greatest share: 1, which doubles the load when all calls fail.
    ///
    /// More than that is not a budget.
    pub const MAX_SHARE: f64 = 1.0;

    /// The reserve unless set: 1 retry a window.
    ///
    /// Without any, a route with fewer successes a window than one divided by the share could never
    /// retry at all, although its retries harm nobody. With one, a thousand quiet processes
    /// together add at most a hundred retries a second to a target; with the tens that are usual
    /// elsewhere, they would be the storm.
    pub const DEFAULT_RESERVE: u32 = 1;

    /// The greatest reserve: 100 retries a window.
    pub const MAX_RESERVE: u32 = 100;

    /// The window unless set: 10 seconds.
    ///
    /// What a window has not used can be spent at once, so the window times the share is the
    /// longest stretch of full traffic that a burst of retries can amount to: a second of it at
    /// 10 %. A shorter window leaves quiet routes without budget between two calls.
    pub const DEFAULT_WINDOW: Duration = Duration::from_secs(10);

    /// The shortest window: 1 second, below which single calls decide.
    pub const SHORTEST_WINDOW: Duration = Duration::from_secs(1);

    /// The longest window: 1 minute, beyond which one burst spends what a minute earned.
    pub const LONGEST_WINDOW: Duration = Duration::from_secs(60);

    const PARTS: usize = 10;
    const PPM: u64 = 1_000_000;

    /// Makes a budget of `share` retries a success, from 0 to [`MAX_SHARE`](Self::MAX_SHARE).
    ///
    /// The share has no default; 0.1 is where to start: it repairs all chance failures of a
    /// target that is up nine times in ten, and adds a tenth to the load of one that is down. With
    /// zero only the reserve is left. It is kept in millionths.
    ///
    /// # Errors
    ///
    /// [`InvalidBudget`] if the share is out of range.
    pub fn new(share: f64) -> Result<Self, InvalidBudget> {
        if !(0.0..=Self::MAX_SHARE).contains(&share) {
            return Err(Refusal::Share(share).into());
        }
        Ok(Self {
            share_ppm: (share * Self::PPM as f64).round() as u32,
            reserve: Self::DEFAULT_RESERVE,
            part_ns: part_ns(Self::DEFAULT_WINDOW),
            parts: [Part::default(); Self::PARTS],
            newest: 0,
            sum: Part::default(),
        })
    }

    /// Goes on with what another one has counted: for a share that changes while running. The window
    /// is that of the other one.
    #[must_use]
    pub fn taking_over(self, before: &Self) -> Self {
        Self {
            share_ppm: self.share_ppm,
            reserve: self.reserve,
            ..before.clone()
        }
    }

    /// Sets how many retries a window may have beside its share; zero for none.
    ///
    /// # Errors
    ///
    /// [`InvalidBudget`] if it is over [`MAX_RESERVE`](Self::MAX_RESERVE).
    pub fn with_reserve(mut self, reserve: u32) -> Result<Self, InvalidBudget> {
        if reserve > Self::MAX_RESERVE {
            return Err(Refusal::Reserve(reserve).into());
        }
        self.reserve = reserve;
        Ok(self)
    }

    /// Sets the length of the window, and forgets what was counted.
    ///
    /// # Errors
    ///
    /// [`InvalidBudget`] unless it is from [`SHORTEST_WINDOW`](Self::SHORTEST_WINDOW) to
    /// [`LONGEST_WINDOW`](Self::LONGEST_WINDOW).
    pub fn with_window(mut self, window: Duration) -> Result<Self, InvalidBudget> {
        if !(Self::SHORTEST_WINDOW..=Self::LONGEST_WINDOW).contains(&window) {
            return Err(Refusal::Window(window).into());
        }
        self.part_ns = part_ns(window);
        self.parts = [Part::default(); Self::PARTS];
        self.sum = Part::default();
        self.newest = 0;
        Ok(self)
    }

    /// Counts a call that succeeded at `now`, which pays into the budget.
    ///
    /// Count it once, whichever attempt it was, and leave out calls that
    /// [arrived as retries](super::RetryCall::is_first) of somebody outside: these are not traffic.
    pub fn count_success(&mut self, now: u64) {
        let part = self.part_at(now);
        part.successes += 1;
        self.sum.successes += 1;
    }

    /// Takes one retry at `now` if there is one.
    #[must_use = "without a grant there must be no retry"]
    pub fn take(&mut self, now: u64) -> bool {
        Self::take_all(&mut [self], now)
    }

    /// Takes one retry from each of several budgets, or from none of them.
    ///
    /// Where two layers of bookkeeping meet, such as route and target, the scarcer one decides,
    /// and the other is not charged for a retry that is never made. No budget grants nothing.
    #[must_use = "without a grant there must be no retry"]
    pub fn take_all(budgets: &mut [&mut Self], now: u64) -> bool {
        let granted =
            !budgets.is_empty() && budgets.iter_mut().all(|budget| budget.usage(now).left > 0);
        if granted {
            for budget in budgets {
                budget.part_at(now).retries += 1;
                budget.sum.retries += 1;
            }
        }
        granted
    }

    /// Tells what is in use at `now`.
    pub fn usage(&mut self, now: u64) -> RetryBudgetUse {
        self.part_at(now);
        let Part { successes, retries } = self.sum;
        let allowed =
            (u128::from(successes) * u128::from(self.share_ppm) / u128::from(Self::PPM)) as u64;
        RetryBudgetUse {
            successes,
            retries,
            left: (allowed + u64::from(self.reserve)).saturating_sub(retries),
        }
    }

    /// Slides the window up to `now` and returns its newest part.
    ///
    /// An older `now` counts as the newest seen.
    fn part_at(&mut self, now: u64) -> &mut Part {
        let at = now / self.part_ns;
        let ahead = at.saturating_sub(self.newest);
        for step in 1..=ahead.min(Self::PARTS as u64) {
            let gone = &mut self.parts[index(self.newest + step)];
            self.sum.successes -= gone.successes;
            self.sum.retries -= gone.retries;
            *gone = Part::default();
        }
        self.newest = self.newest.max(at);
        &mut self.parts[index(self.newest)]
    }
}

fn part_ns(window: Duration) -> u64 {
    // At most a minute, so it fits.
    window.as_nanos() as u64 / RetryBudget::PARTS as u64
}

fn index(part: u64) -> usize {
    (part % RetryBudget::PARTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn budget(share: f64, reserve: u32) -> RetryBudget {
        RetryBudget::new(share)
            .unwrap()
            .with_reserve(reserve)
            .unwrap()
    }

    fn succeed(budget: &mut RetryBudget, times: u32, now: u64) {
        for _ in 0..times {
            budget.count_success(now);
        }
    }

    fn take_all_of(budget: &mut RetryBudget, now: u64) -> u32 {
        (0..).take_while(|_| budget.take(now)).count() as u32
    }

    #[test]
    fn retries_are_the_share_and_the_reserve() {
        let check = |share, reserve, successes, expect| {
            let mut budget = budget(share, reserve);
            succeed(&mut budget, successes, 0);
            assert_eq!(
                take_all_of(&mut budget, 0),
                expect,
                "{share} of {successes}, {reserve}"
            );
        };

        check(0.1, 0, 100, 10);
        check(0.1, 0, 99, 9);
        check(0.1, 3, 99, 12);
        check(0.0, 0, 1_000, 0);
        check(0.0, 2, 1_000, 2);
        check(1.0, 0, 7, 7);
        check(0.1, 0, 0, 0);
    }

    #[test]
    fn what_a_window_has_not_used_leaves_with_it() {
        let mut budget = budget(0.1, 0);
        succeed(&mut budget, 1_000, 0);

        assert_eq!(budget.usage(9 * SECOND).left, 100);
        assert_eq!(budget.usage(10 * SECOND).left, 0);
    }

    #[test]
    fn retries_are_remembered_as_long_as_successes() {
        let mut budget = budget(0.5, 0);
        succeed(&mut budget, 10, 0);
        assert_eq!(take_all_of(&mut budget, 5 * SECOND), 5);
        succeed(&mut budget, 10, 10 * SECOND);

        assert_eq!(take_all_of(&mut budget, 10 * SECOND), 0);
        assert_eq!(take_all_of(&mut budget, 15 * SECOND), 5);
    }

    #[test]
    fn the_scarcer_budget_decides_and_the_other_is_not_charged() {
        let (mut route, mut target) = (budget(0.1, 0), budget(0.1, 0));
        succeed(&mut route, 100, 0);
        succeed(&mut target, 20, 0);

        let granted = (0..10)
            .filter(|_| RetryBudget::take_all(&mut [&mut route, &mut target], 0))
            .count();

        assert_eq!(granted, 2);
        assert_eq!(route.usage(0).left, 8);
    }

    #[test]
    fn a_share_that_changes_keeps_what_was_counted() {
        let mut before = budget(0.1, 0);
        succeed(&mut before, 100, 0);
        assert_eq!(take_all_of(&mut before, 0), 10);

        let mut more = budget(0.2, 0).taking_over(&before);
        let mut less = budget(0.05, 0).taking_over(&before);

        assert_eq!(
            take_all_of(&mut more, 0),
            10,
            "20 of 100, of which 10 are spent"
        );
        assert_eq!(take_all_of(&mut less, 0), 0);
    }

    #[test]
    fn no_budget_grants_nothing() {
        assert!(!RetryBudget::take_all(&mut [], 0));
    }

    #[test]
    fn time_that_goes_backwards_earns_nothing() {
        let mut budget = budget(0.1, 0);
        succeed(&mut budget, 100, 100 * SECOND);
        assert_eq!(take_all_of(&mut budget, 100 * SECOND), 10);

        assert_eq!(take_all_of(&mut budget, 0), 0);
        assert_eq!(budget.usage(105 * SECOND).retries, 10);
    }

    #[test]
    fn a_long_silence_leaves_an_empty_window() {
        let mut budget = budget(0.1, 0);
        succeed(&mut budget, 100, 3 * SECOND);

        let usage = budget.usage(u64::MAX);

        assert_eq!((usage.successes, usage.retries, usage.left), (0, 0, 0));
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_their_bound() {
        let check = |made: Result<RetryBudget, InvalidBudget>, part: &str| {
            let message = made.unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };

        check(RetryBudget::new(-0.1), "-0.1 is not from 0 to 1");
        check(RetryBudget::new(1.1), "1.1 is not from 0 to 1");
        check(RetryBudget::new(f64::NAN), "NaN is not from 0 to 1");
        check(budget(0.1, 0).with_reserve(101), "bound of 100");
        check(budget(0.1, 0).with_window(Duration::ZERO), "from 1s to 60s");
        check(budget(0.1, 0).with_window(Duration::MAX), "from 1s to 60s");
    }

    proptest! {
        #[test]
        fn retries_never_exceed_their_share_of_any_window(
            share in 0.0..=1.0_f64,
            reserve in 0..4_u32,
            events in prop::collection::vec((0..SECOND, any::<bool>()), 1..400),
        ) {
            let mut budget = budget(share, reserve);
            let (mut successes, mut retries): (Vec<u64>, Vec<u64>) = Default::default();
            let mut now = 0;

            for (step, is_success) in events {
                now += step;
                if is_success {
                    budget.count_success(now);
                    successes.push(now);
                } else if budget.take(now) {
                    retries.push(now);
                }
            }

            // The parts cover between nine and ten seconds: nine are watched for sure, and never
            // more than ten paid for them.
            let within = |instants: &[u64], until: u64, window: u64| {
                instants.iter().filter(|at| **at <= until && until - **at < window).count() as f64
            };
            for last in &retries {
                let spent = within(&retries, *last, 9 * SECOND);
                let paid = share * within(&successes, *last, 10 * SECOND) + f64::from(reserve);
                // The share is kept in millionths.
                prop_assert!(spent <= paid + 0.001, "{spent} of {paid}");
            }
        }

        #[test]
        fn a_share_of_steady_traffic_is_granted_in_full(every in 2..20_u64) {
            // The reserve covers the fraction of a retry that the share of an odd count leaves.
            let mut budget = budget(1.0 / every as f64 + 1e-6, 1);
            let mut rejected = 0;

            for success in 0..10_000_u64 {
                let now = success * SECOND / 100;
                budget.count_success(now);
                // The first window fills up, then one in n is granted for ever.
                if success % every == 0 && !budget.take(now) && success > 2_000 {
                    rejected += 1;
                }
            }

            prop_assert_eq!(rejected, 0);
        }
    }
}
