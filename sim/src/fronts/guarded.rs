//! Ours: the gate, the displacement queue and, if wanted, the limit that finds itself.

use std::collections::HashMap;

use steadfast::decide::admission::{
    AdmissionConfig, AdmissionQueue, Gate, InvalidAdmission, Leave, Next, Offer, Ticket, Waiter,
};

use super::Limiter;
use crate::engine::{Decision, Front, Request};

/// Admits by tier, as a server shell would: the same calls in the same order, but for the lock.
#[derive(Debug)]
pub struct Guarded<L> {
    limiter: L,
    gate: Gate,
    queue: AdmissionQueue,
    /// How long the route's median request takes, in nanoseconds.
    service_ns: u64,
    requests: HashMap<Ticket, u32>,
    tickets: HashMap<u32, Ticket>,
}

impl<L: Limiter> Guarded<L> {
    /// Puts admission before the server, with a limit from `limiter`.
    ///
    /// # Errors
    ///
    /// If the configuration is out of range.
    pub fn new(
        limiter: L,
        config: AdmissionConfig,
        service_ns: u64,
    ) -> Result<Self, InvalidAdmission> {
        Ok(Self {
            gate: Gate::new(limiter.limit()),
            limiter,
            queue: AdmissionQueue::new(config)?,
            service_ns,
            requests: HashMap::new(),
            tickets: HashMap::new(),
        })
    }

    fn enqueue(&mut self, request: &Request, now: u64, decisions: &mut Vec<Decision>) {
        let waiter = Waiter {
            user: request.user,
            deadline: request.deadline,
            service_ns: self.service_ns,
            ..Waiter::new(request.tier)
        };
        match self.queue.offer(waiter, now) {
            Offer::Queued(queued) => self.keep(queued.ticket, request.id),
            Offer::Displacing(queued, victim) => {
                self.keep(queued.ticket, request.id);
                let victim = self.forget(victim);
                decisions.push(Decision::Reject(victim));
            }
            Offer::Rejected(_) => decisions.push(Decision::Reject(request.id)),
        }
        self.fill(now, decisions);
    }

    fn fill(&mut self, now: u64, decisions: &mut Vec<Decision>) {
        while !self.queue.is_empty() && self.gate.enter_or_wait() {
            self.hand_over(now, decisions);
        }
    }

    fn hand_over(&mut self, now: u64, decisions: &mut Vec<Decision>) {
        loop {
            match self.queue.next(&self.gate, now) {
                Some(Next::Admit(ticket)) => {
                    let admitted = self.forget(ticket);
                    decisions.push(Decision::Admit(admitted));
                    return;
                }
                Some(Next::TooLate(ticket)) => {
                    let rejected = self.forget(ticket);
                    decisions.push(Decision::Reject(rejected));
                }
                None => {
                    self.gate.leave_idle();
                    return;
                }
            }
        }
    }

    fn keep(&mut self, ticket: Ticket, id: u32) {
        self.requests.insert(ticket, id);
        self.tickets.insert(id, ticket);
    }

    fn forget(&mut self, ticket: Ticket) -> u32 {
        let id = self
            .requests
            .remove(&ticket)
            .expect("the queue names waiters that it was given, once");
        self.tickets.remove(&id);
        id
    }
}

impl<L: Limiter> Front for Guarded<L> {
    fn arrive(&mut self, request: &Request, now: u64, decisions: &mut Vec<Decision>) {
        if self.gate.try_enter(request.tier) {
            decisions.push(Decision::Admit(request.id));
        } else {
            self.enqueue(request, now, decisions);
        }
    }

    fn ended(&mut self, request: &Request, admitted: u64, now: u64, decisions: &mut Vec<Decision>) {
        let late = now > request.deadline;
        self.limiter
            .sample(now - admitted, self.gate.in_flight(), late, now);
        let limit = self.limiter.limit();
        if limit != self.gate.limit() {
            self.gate.set_limit(limit);
        }
        if self.gate.leave(request.tier) == Leave::HandOver {
            self.hand_over(now, decisions);
        }
        self.fill(now, decisions);
    }

    fn gave_up(&mut self, request: &Request, _: u64) {
        if let Some(ticket) = self.tickets.remove(&request.id) {
            self.requests.remove(&ticket);
            self.queue.remove(ticket);
        }
    }

    fn limit(&self) -> u32 {
        self.gate.limit()
    }
}
