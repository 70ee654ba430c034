//! The usual partition, for comparison: each tier has permits of its own and lends none.

use steadfast::context::Tier;

use crate::engine::{Decision, Front, Request};

/// A fixed limit for each tier, without a queue.
#[derive(Clone, Debug)]
pub struct Shares {
    each: u32,
    in_flight: [u32; Tier::COUNT],
}

impl Shares {
    /// Makes one that lets `each` in at a time of each tier.
    #[must_use]
    pub fn new(each: u32) -> Self {
        Self {
            each,
            in_flight: [0; Tier::COUNT],
        }
    }

    fn of(&mut self, tier: Tier) -> &mut u32 {
        &mut self.in_flight[usize::from(tier.number())]
    }
}

impl Front for Shares {
    fn arrive(&mut self, request: &Request, _: u64, decisions: &mut Vec<Decision>) {
        if *self.of(request.tier) < self.each {
            *self.of(request.tier) += 1;
            decisions.push(Decision::Admit(request.id));
        } else {
            decisions.push(Decision::Reject(request.id));
        }
    }

    fn ended(&mut self, request: &Request, _: u64, _: u64, _: &mut Vec<Decision>) {
        *self.of(request.tier) -= 1;
    }

    fn limit(&self) -> u32 {
        self.each
    }
}
