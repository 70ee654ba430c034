//! Every state that three children can reach, and every event in each of them.
//!
//! States that differ only in the absolute time are visited once; with a constant backoff and
//! short limits there are few enough to visit all, so the sequences have no length limit.

use super::super::*;
use super::world::World;
use std::collections::{HashSet, VecDeque};
use std::panic::{self, AssertUnwindSafe};

/// Visits every state once; answers how many there are.
fn explore(strategy: Strategy, kinds: [char; 3], restarts: u32, hands: u32) -> usize {
    let mut seen = HashSet::new();
    // Breadth first, so that the trail to a broken rule is a shortest one.
    let mut edge = VecDeque::from([World::new(strategy, kinds, restarts, hands)]);
    while let Some(world) = edge.pop_front() {
        for step in world.moves() {
            let mut after = world.clone();
            let checked = panic::catch_unwind(AssertUnwindSafe(|| {
                after.make(step);
                let new = seen.insert(after.fingerprint());
                if new {
                    after.clone().check_settles();
                }
                new
            }));
            match checked {
                Ok(true) => edge.push_back(after),
                Ok(false) => {}
                Err(_) => panic!(
                    "{strategy:?} {kinds:?}: {:?}, then perhaps more",
                    after.trail
                ),
            }
        }
    }
    seen.len()
}

const STRATEGIES: [Strategy; 3] = [
    Strategy::OneForOne,
    Strategy::OneForAll,
    Strategy::RestForOne,
];

fn all_kinds() -> impl Iterator<Item = [char; 3]> {
    let letters = ['P', 'T', 't'];
    (0..27).map(move |code| [letters[code / 9], letters[code / 3 % 3], letters[code % 3]])
}

#[test]
fn no_sequence_of_events_breaks_a_rule() {
    for strategy in STRATEGIES {
        for kinds in all_kinds() {
            let states = explore(strategy, kinds, 1, 0);
            assert!(
                states > 100,
                "{strategy:?} {kinds:?} has only {states} states"
            );
        }
    }
}

#[test]
fn two_requests_by_hand_at_any_moment_break_no_rule() {
    for strategy in STRATEGIES {
        let states = explore(strategy, ['P', 'T', 't'], 1, 2);
        assert!(states > 10_000, "{strategy:?} has only {states} states");
    }
}

#[test]
fn no_sequence_of_events_breaks_a_rule_whatever_the_intensity() {
    for strategy in STRATEGIES {
        for restarts in [0, 2] {
            explore(strategy, ['P', 'P', 'P'], restarts, 0);
        }
    }
}
