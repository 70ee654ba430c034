//! Who may have a connection next (pure).

use std::collections::VecDeque;

use steadfast_core::context::Tier;

/// Permits for connections: so many at once, the last ones kept for tiers that matter more.
///
/// Of those who wait the most important tier goes first, within a tier whoever came first.
#[derive(Debug)]
pub(super) struct Permits {
    size: usize,
    used: usize,
    /// For each tier how many are kept for it and those above it.
    reserve: [usize; Tier::COUNT],
    waiting: [VecDeque<u64>; Tier::COUNT],
    next: u64,
}

impl Permits {
    pub(super) fn new(size: usize, reserve: [usize; Tier::COUNT]) -> Self {
        Self {
            size,
            used: 0,
            reserve,
            waiting: Default::default(),
            next: 0,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn waiters(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    /// Takes one at once, if there is one that nobody before has a better claim to.
    pub(super) fn take(&mut self, tier: Tier) -> bool {
        let number = usize::from(tier.number());
        let first = self.waiting[..=number].iter().all(VecDeque::is_empty);
        let granted = first && self.is_free_for(number);
        self.used += usize::from(granted);
        granted
    }

    /// Stands in line; the number names the place.
    pub(super) fn wait(&mut self, tier: Tier) -> u64 {
        let place = self.next;
        self.next += 1;
        self.waiting[usize::from(tier.number())].push_back(place);
        place
    }

    /// Leaves the line; `false` if the permit has been granted already.
    pub(super) fn leave(&mut self, tier: Tier, place: u64) -> bool {
        let line = &mut self.waiting[usize::from(tier.number())];
        let at = line.iter().position(|waiting| *waiting == place);
        at.and_then(|at| line.remove(at)).is_some()
    }

    /// Gives a permit back.
    pub(super) fn give_back(&mut self) {
        debug_assert!(self.used > 0, "whoever gives back has taken");
        self.used = self.used.saturating_sub(1);
    }

    /// Changes how many there are. Those in use above that end when they are given back.
    pub(super) fn resize(&mut self, size: usize) {
        self.size = size;
    }

    /// Grants one to whoever is next in line, if there is one to grant.
    pub(super) fn grant(&mut self) -> Option<u64> {
        let next = (0..Tier::COUNT).find(|tier| !self.waiting[*tier].is_empty())?;
        if !self.is_free_for(next) {
            return None;
        }
        self.used += 1;
        self.waiting[next].pop_front()
    }

    fn is_free_for(&self, tier: usize) -> bool {
        let kept: usize = self.reserve[..tier].iter().sum();
        self.used.saturating_add(kept) < self.size
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tier(number: u8) -> Tier {
        Tier::new(number).unwrap()
    }

    fn with_reserve(size: usize, core: usize) -> Permits {
        let mut reserve = [0; Tier::COUNT];
        reserve[0] = core;
        Permits::new(size, reserve)
    }

    #[test]
    fn the_last_ones_are_for_the_tier_that_they_are_kept_for() {
        let mut permits = with_reserve(3, 2);

        assert!(permits.take(tier(1)));
        assert!(!permits.take(tier(1)));
        assert!(permits.take(tier(0)));
        assert!(permits.take(tier(0)));
        assert!(!permits.take(tier(0)));
        permits.give_back();
        assert!(!permits.take(tier(1)), "what comes back is kept again");
    }

    #[test]
    fn the_most_important_of_those_who_wait_is_next_and_then_the_first() {
        let mut permits = with_reserve(1, 0);
        assert!(permits.take(tier(1)));
        let [low, first, second, core] = [5, 1, 1, 0].map(|number| permits.wait(tier(number)));
        assert_eq!(permits.grant(), None);

        for expect in [core, first, second, low] {
            assert!(
                !permits.take(tier(0)) || permits.waiters() == 0,
                "nobody jumps the line"
            );
            permits.give_back();
            assert_eq!(permits.grant(), Some(expect));
        }
        assert_eq!(permits.grant(), None);
    }

    #[test]
    fn a_smaller_pool_takes_back_what_is_given_back() {
        let mut permits = with_reserve(3, 0);
        for _ in 0..3 {
            assert!(permits.take(tier(1)));
        }
        let place = permits.wait(tier(1));

        permits.resize(1);
        permits.give_back();
        permits.give_back();
        assert_eq!(permits.grant(), None);
        permits.give_back();
        assert_eq!(permits.grant(), Some(place));
        assert!(!permits.leave(tier(1), place), "it has been granted");
    }

    proptest! {
        /// Whatever happens: never more in use than there were permits at the time of the grant, nobody waits who could
        /// have one, and all are there again in the end.
        #[test]
        fn none_is_lost_and_none_is_made(steps in prop::collection::vec((0_u8..5, 0_u8..3), 1..200)) {
            let mut permits = with_reserve(4, 1);
            let mut line: Vec<(Tier, u64)> = Vec::new();
            let mut used = 0_usize;
            for (step, number) in steps {
                let tier = tier(number);
                match step {
                    0 => match permits.take(tier) {
                        true => used += 1,
                        false => line.push((tier, permits.wait(tier))),
                    },
                    1 if used > 0 => {
                        used -= 1;
                        permits.give_back();
                    }
                    2 if !line.is_empty() => {
                        let (tier, place) = line.remove(usize::from(number) % line.len());
                        prop_assert!(permits.leave(tier, place));
                    }
                    3 => permits.resize(1 + 2 * usize::from(number)),
                    _ => {}
                }
                while let Some(granted) = permits.grant() {
                    line.retain(|(_, place)| *place != granted);
                    used += 1;
                    prop_assert!(used <= permits.size());
                }
                prop_assert_eq!(permits.used(), used);
                prop_assert_eq!(permits.waiters(), line.len());
                let core_waits = line.iter().any(|(tier, _)| tier.number() == 0);
                prop_assert!(!core_waits || used >= permits.size());
            }
        }
    }
}
