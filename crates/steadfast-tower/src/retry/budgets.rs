use std::collections::HashMap;
use std::hash::Hash;

use steadfast_core::context::Name;
use steadfast_core::decide::budget::RetryBudget;

use crate::keys::OwnKeys;

/// How many routes, and how many targets, have a budget of their own at a time: 1,024 each, far
/// more than a service has dependencies, in less than half a megabyte for both. Those beyond
/// share one.
pub(super) const BUDGETS_MAX: usize = 1_024;

/// How often a full table looks for budgets that nobody uses any more: once a second, so that a
/// flood of targets does not pay for the look at each call.
const SWEEP_EVERY: u64 = 1_000_000_000;

/// The budgets of all routes and targets of one layer.
pub(super) struct Budgets {
    routes: Table<Name>,
    /// By a hash with a secret.
    targets: Table<u64>,
}

impl Budgets {
    pub(super) fn new(budget: RetryBudget) -> Self {
        Self {
            routes: Table::new(budget.clone()),
            targets: Table::new(budget),
        }
    }

    /// Counts a call that succeeded.
    pub(super) fn count_success(&mut self, route: Option<Name>, target: u64, now: u64) {
        if let Some(route) = route {
            self.routes.of(route, now).count_success(now);
        }
        self.targets.of(target, now).count_success(now);
    }

    /// Gives those that pay for a retry of the call.
    pub(super) fn paying<R>(
        &mut self,
        route: Option<Name>,
        target: u64,
        now: u64,
        decide: impl FnOnce(&mut [&mut RetryBudget]) -> R,
    ) -> R {
        let target = self.targets.of(target, now);
        match route {
            Some(route) => decide(&mut [self.routes.of(route, now), target]),
            None => decide(&mut [target]),
        }
    }

    /// Changes the share of all of them, which go on with what they have counted.
    pub(super) fn reconfigure(&mut self, budget: &RetryBudget) {
        self.routes.reconfigure(budget);
        self.targets.reconfigure(budget);
    }

    /// How many routes and how many targets have one of their own.
    pub(super) fn seated(&self) -> [(&'static str, usize); 2] {
        [
            ("route", self.routes.seats.len()),
            ("target", self.targets.seats.len()),
        ]
    }
}

/// Budgets in bounded memory.
struct Table<K> {
    fresh: RetryBudget,
    seats: HashMap<K, RetryBudget, OwnKeys>,
    /// Of those for whom there was no room.
    shared: RetryBudget,
    swept: u64,
}

impl<K: Hash + Eq + Copy> Table<K> {
    fn new(fresh: RetryBudget) -> Self {
        Self {
            shared: fresh.clone(),
            fresh,
            seats: HashMap::default(),
            swept: 0,
        }
    }

    fn of(&mut self, key: K, now: u64) -> &mut RetryBudget {
        // Only a full table has to know beforehand whether the key is there.
        if self.seats.len() >= BUDGETS_MAX && !self.seats.contains_key(&key) {
            self.sweep(now);
            if self.seats.len() >= BUDGETS_MAX {
                return &mut self.shared;
            }
        }
        let fresh = &self.fresh;
        self.seats.entry(key).or_insert_with(|| fresh.clone())
    }

    fn reconfigure(&mut self, budget: &RetryBudget) {
        if self.fresh == *budget {
            return;
        }
        self.fresh = budget.clone();
        for known in self.seats.values_mut().chain([&mut self.shared]) {
            *known = budget.clone().taking_over(known);
        }
    }

    /// Forgets the budgets of which nothing is in their window: they are as good as new.
    fn sweep(&mut self, now: u64) {
        if now < self.swept.saturating_add(SWEEP_EVERY) {
            return;
        }
        self.swept = now;
        self.seats.retain(|_, budget| {
            let used = budget.usage(now);
            used.successes > 0 || used.retries > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const ONE: Option<Name> = Some(Name::new("one"));
    const TWO: Option<Name> = Some(Name::new("two"));
    const THREE: Option<Name> = Some(Name::new("three"));

    fn budgets(share: f64) -> Budgets {
        Budgets::new(RetryBudget::new(share).unwrap().with_reserve(0).unwrap())
    }

    fn takes(budgets: &mut Budgets, route: Option<Name>, target: u64, now: u64) -> bool {
        budgets.paying(route, target, now, |paying| {
            RetryBudget::take_all(paying, now)
        })
    }

    #[test]
    fn route_and_target_both_pay_and_others_do_not() {
        let mut budgets = budgets(1.0);
        budgets.count_success(ONE, 10, SECOND);
        budgets.count_success(TWO, 10, SECOND);

        assert!(!takes(&mut budgets, THREE, 10, SECOND), "a route unknown");
        assert!(!takes(&mut budgets, ONE, 11, SECOND), "a target unknown");
        assert!(takes(&mut budgets, ONE, 10, SECOND));
        assert!(!takes(&mut budgets, ONE, 10, SECOND), "the route is spent");
        assert!(takes(&mut budgets, None, 10, SECOND));
        assert!(!takes(&mut budgets, TWO, 10, SECOND), "the target is spent");
    }

    #[test]
    fn a_flood_of_targets_shares_one_budget_in_bounded_memory() {
        let mut budgets = budgets(1.0);
        budgets.count_success(None, 0, SECOND);
        for target in 1..100_000 {
            budgets.count_success(None, target, SECOND);
        }

        assert_eq!(budgets.targets.seats.len(), BUDGETS_MAX);
        assert!(
            takes(&mut budgets, None, 0, SECOND),
            "who was there keeps its own"
        );
        assert!(
            takes(&mut budgets, None, 777_777, SECOND),
            "who came later shares"
        );
    }

    #[test]
    fn a_share_that_changes_keeps_what_was_counted() {
        let mut changing = budgets(0.1);
        for _ in 0..20 {
            changing.count_success(None, 7, SECOND);
        }
        assert!(takes(&mut changing, None, 7, SECOND));

        changing.reconfigure(&RetryBudget::new(0.2).unwrap().with_reserve(0).unwrap());

        let granted = (0..9).filter(|_| takes(&mut changing, None, 7, SECOND));
        assert_eq!(
            granted.count(),
            3,
            "a fifth of twenty, of which one is spent"
        );
    }

    #[test]
    fn budgets_that_nobody_uses_any_more_make_room() {
        let mut budgets = budgets(1.0);
        for target in 0..BUDGETS_MAX as u64 {
            budgets.count_success(None, target, SECOND);
        }
        let later = 60 * SECOND;
        budgets.count_success(None, 5, later - SECOND);

        budgets.count_success(None, 9_999, later);

        assert_eq!(budgets.targets.seats.len(), 2);
        assert!(takes(&mut budgets, None, 5, later), "still in use");
        assert!(
            takes(&mut budgets, None, 9_999, later),
            "has one of its own"
        );
    }
}
