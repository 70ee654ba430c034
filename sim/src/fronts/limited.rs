//! A limit on what is in flight that rejects the rest.

use steadfast::decide::limit::Limit;

use crate::engine::{Decision, Front, Request};

/// Finds how many may be in flight.
pub trait Limiter {
    /// Returns how many.
    fn limit(&self) -> u32;

    /// Hears that a request took so long, with so many in flight at its end.
    fn sample(&mut self, rtt_ns: u64, in_flight: u32, late: bool, now: u64);
}

impl Limiter for Limit {
    fn limit(&self) -> u32 {
        self.current()
    }

    fn sample(&mut self, rtt_ns: u64, in_flight: u32, late: bool, now: u64) {
        Limit::sample(self, rtt_ns, in_flight, late, now);
    }
}

/// Admits up to the limit and rejects what exceeds it, without a queue.
#[derive(Clone, Debug)]
pub struct Limited<L> {
    limiter: L,
    in_flight: u32,
}

impl<L: Limiter> Limited<L> {
    /// Puts a limiter before the server.
    pub fn new(limiter: L) -> Self {
        Self {
            limiter,
            in_flight: 0,
        }
    }
}

impl<L: Limiter> Front for Limited<L> {
    fn arrive(&mut self, request: &Request, _: u64, decisions: &mut Vec<Decision>) {
        if self.in_flight < self.limiter.limit() {
            self.in_flight += 1;
            decisions.push(Decision::Admit(request.id));
        } else {
            decisions.push(Decision::Reject(request.id));
        }
    }

    fn ended(&mut self, request: &Request, admitted: u64, now: u64, _: &mut Vec<Decision>) {
        let late = now > request.deadline;
        self.limiter
            .sample(now - admitted, self.in_flight, late, now);
        self.in_flight -= 1;
    }

    fn limit(&self) -> u32 {
        self.limiter.limit()
    }
}
