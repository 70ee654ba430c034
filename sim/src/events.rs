//! Events in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Events to come, by instant and then by the order in which they were made, so that a run is the
/// same each time.
#[derive(Clone, Debug)]
pub struct Events<E> {
    heap: BinaryHeap<Reverse<(u64, u64, E)>>,
    made: u64,
}

// === impl Events ===

impl<E: Ord> Events<E> {
    /// Makes an empty one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            made: 0,
        }
    }

    /// Lets something happen at an instant.
    pub fn at(&mut self, instant: u64, event: E) {
        self.made += 1;
        self.heap.push(Reverse((instant, self.made, event)));
    }

    /// Takes what happens next, with its instant, if it is not after `until`.
    pub fn next(&mut self, until: u64) -> Option<(u64, E)> {
        let Reverse((instant, _, event)) = self.heap.pop()?;
        (instant <= until).then_some((instant, event))
    }
}

impl<E: Ord> Default for Events<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_at_one_instant_happens_in_the_order_of_its_making() {
        let mut events = Events::new();
        for (instant, event) in [(2, 'z'), (1, 'b'), (1, 'a'), (3, 'c')] {
            events.at(instant, event);
        }

        let order: Vec<_> = std::iter::from_fn(|| events.next(2)).collect();

        assert_eq!(order, [(1, 'b'), (1, 'a'), (2, 'z')]);
    }
}
