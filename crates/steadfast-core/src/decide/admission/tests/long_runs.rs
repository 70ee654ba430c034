//! Long sequences of random steps, and what they add up to.

use proptest::prelude::*;

use super::shell::{LOW, Shell, Step};
use crate::context::Tier;

fn step() -> impl Strategy<Value = Step> {
    let tier = prop_oneof![Just(Tier::CORE), Just(Tier::DEFAULT), Just(LOW)];
    prop_oneof![
        4 => (tier, 0u64..4, 1u64..500).prop_map(|(tier, user, ms)| Step::Arrive(tier, user, ms)),
        3 => any::<usize>().prop_map(Step::End),
        1 => any::<usize>().prop_map(Step::GiveUp),
        1 => (0u32..6).prop_map(Step::Limit),
        1 => (0u64..80).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_books_agree_and_nobody_waits_beside_room(
        limit in 0u32..5,
        waiting_max in 1u32..9,
        shares in prop_oneof![Just([0; 3]), prop::array::uniform3(0u8..33)],
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut config = Shell::config(waiting_max);
        config.guaranteed[..2].copy_from_slice(&shares[..2]);
        config.guaranteed[usize::from(LOW.number())] = shares[2];
        let mut shell = Shell::new(limit, config);

        for step in steps {
            shell.step(step);
        }

        shell.drain();
    }
}
