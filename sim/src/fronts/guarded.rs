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
    /// The mean time from admission to the end, in nanoseconds.
    service_ns: u64,
    requests: HashMap<Ticket, u32>,
    /// By id, which are counted from 0.
    tickets: Vec<Option<Ticket>>,
    /// Empty; kept for its memory.
    told: Vec<Next>,
}

/// The weight of what is newest in the mean time of a request: an eighth.
const NEWEST: u32 = 3;

impl<L: Limiter> Guarded<L> {
    /// Puts admission before the server, with a limit from `limiter`.
    ///
    /// # Errors
    ///
    /// If the configuration is out of range.
    pub fn new(limiter: L, config: AdmissionConfig) -> Result<Self, InvalidAdmission> {
        Ok(Self {
            gate: Gate::new(limiter.limit()),
            limiter,
            queue: AdmissionQueue::new(config)?,
            service_ns: 0,
            requests: HashMap::new(),
            tickets: Vec::new(),
            told: Vec::new(),
        })
    }

    fn enqueue(&mut self, waiter: Waiter, id: u32, now: u64, decisions: &mut Vec<Decision>) {
        match self.queue.offer(waiter, now) {
            Offer::Queued(queued) => self.keep(queued.ticket, id),
            Offer::Displacing(queued, victim) => {
                self.keep(queued.ticket, id);
                let victim = self.forget(victim);
                decisions.push(Decision::Reject(victim));
            }
            Offer::Rejected(_) => decisions.push(Decision::Reject(id)),
        }
        self.fill(now, decisions);
    }

    fn fill(&mut self, now: u64, decisions: &mut Vec<Decision>) {
        let mut told = std::mem::take(&mut self.told);
        self.queue.fill(&self.gate, now, |next| told.push(next));
        self.follow(told, decisions);
    }

    fn hand_over(&mut self, now: u64, decisions: &mut Vec<Decision>) {
        let mut told = std::mem::take(&mut self.told);
        self.queue
            .hand_over(&self.gate, now, |next| told.push(next));
        self.follow(told, decisions);
    }

    fn follow(&mut self, mut told: Vec<Next>, decisions: &mut Vec<Decision>) {
        for next in told.drain(..) {
            decisions.push(match next {
                Next::Admit(ticket) => Decision::Admit(self.forget(ticket)),
                Next::TooLate(ticket) => Decision::Reject(self.forget(ticket)),
            });
        }
        self.told = told;
    }

    fn keep(&mut self, ticket: Ticket, id: u32) {
        self.requests.insert(ticket, id);
        let id = id as usize;
        if self.tickets.len() <= id {
            self.tickets.resize(id + 1, None);
        }
        self.tickets[id] = Some(ticket);
    }

    fn forget(&mut self, ticket: Ticket) -> u32 {
        let id = self
            .requests
            .remove(&ticket)
            .expect("the queue names waiters that it was given, once");
        self.tickets[id as usize] = None;
        id
    }
}

impl<L: Limiter> Front for Guarded<L> {
    fn arrive(&mut self, request: &Request, now: u64, decisions: &mut Vec<Decision>) {
        let waiter = Waiter {
            user: request.user,
            deadline: request.deadline,
            service_ns: self.service_ns,
            ..Waiter::new(request.tier)
        };
        if self.gate.try_enter(request.tier) {
            decisions.push(Decision::Admit(request.id));
        } else {
            self.enqueue(waiter, request.id, now, decisions);
        }
    }

    fn ended(&mut self, request: &Request, admitted: u64, now: u64, decisions: &mut Vec<Decision>) {
        let took = now - admitted;
        self.service_ns = match self.service_ns {
            0 => took,
            mean => mean - (mean >> NEWEST) + (took >> NEWEST),
        };
        let late = now > request.deadline;
        self.limiter.sample(took, self.gate.in_flight(), late, now);
        let limit = self.limiter.limit();
        if limit != self.gate.limit() {
            self.gate.set_limit(limit);
            self.fill(now, decisions);
        }
        if self.gate.leave(request.tier) == Leave::HandOver {
            self.hand_over(now, decisions);
        }
    }

    fn gave_up(&mut self, request: &Request, _: u64) {
        let ticket = self.tickets.get_mut(request.id as usize);
        if let Some(ticket) = ticket.and_then(Option::take) {
            self.requests.remove(&ticket);
            self.queue.remove(ticket);
        }
    }

    fn limit(&self) -> u32 {
        self.gate.limit()
    }
}
