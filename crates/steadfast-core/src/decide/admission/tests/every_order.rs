//! Every sequence of a few steps.

use super::shell::{LOW, Shell, Step};
use crate::context::Tier;

const STEPS: [Step; 8] = [
    Step::Arrive(Tier::CORE, 1, 10_000),
    Step::Arrive(LOW, 1, 40),
    Step::Arrive(LOW, 2, 10_000),
    Step::End(0),
    Step::GiveUp(0),
    Step::Limit(0),
    Step::Limit(2),
    Step::Pass(60),
];

/// How long a sequence is, after one has come and another waits: enough to displace, let time run
/// out, lower and raise the limit, and leave.
const LENGTH: u32 = 5;

fn try_all(waiting_max: u32, guaranteed_low: u8) {
    let mut config = Shell::config(waiting_max);
    config.guaranteed[usize::from(LOW.number())] = guaranteed_low;
    let count = STEPS.len() as u32;
    for sequence in 0..count.pow(LENGTH) {
        let mut shell = Shell::new(1, config);
        shell.step(STEPS[0]);
        shell.step(STEPS[1]);
        for place in 0..LENGTH {
            shell.step(STEPS[(sequence / count.pow(place) % count) as usize]);
        }
        shell.drain();
    }
}

#[test]
fn no_order_of_steps_loses_a_permit_or_a_waiter_in_a_queue_of_one() {
    try_all(1, 0);
}

#[test]
fn no_order_of_steps_loses_a_permit_or_a_waiter_with_a_guaranteed_share() {
    try_all(2, 50);
}
