//! The smallest shell, which checks after each call what must always hold.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::context::Tier;
use crate::decide::admission::{
    AdmissionConfig, AdmissionQueue, Gate, Leave, Next, Offer, Ticket, Waiter,
};

pub(super) const MS: u64 = 1_000_000;

pub(super) const LOW: Tier = Tier::new(5).unwrap();

/// Who comes, goes, gives up, and what changes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A request of this tier and user comes, with so many milliseconds of patience.
    Arrive(Tier, u64, u64),
    /// The nth of those in flight ends.
    End(usize),
    /// The client of the nth waiter goes.
    GiveUp(usize),
    /// The limit changes.
    Limit(u32),
    /// So many milliseconds pass.
    Pass(u64),
}

pub(super) struct Shell {
    config: AdmissionConfig,
    gate: Gate,
    queue: AdmissionQueue,
    in_flight: Vec<Tier>,
    waiting: BTreeSet<Ticket>,
    now: u64,
}

impl Shell {
    pub(super) fn new(limit: u32, config: AdmissionConfig) -> Self {
        Self {
            config,
            gate: Gate::new(limit),
            queue: AdmissionQueue::new(config).unwrap(),
            in_flight: Vec::new(),
            waiting: BTreeSet::new(),
            now: 0,
        }
    }

    /// A config in which a queue stands after 50 ms and nobody waits for more than 200.
    pub(super) fn config(waiting_max: u32) -> AdmissionConfig {
        AdmissionConfig {
            waiting_max,
            standing_after: Duration::from_millis(50),
            wait_max: Duration::from_millis(200),
            ..AdmissionConfig::default()
        }
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Arrive(tier, user, patience_ms) => self.arrive(Waiter {
                user,
                deadline: self.now + patience_ms * MS,
                ..Waiter::new(tier)
            }),
            Step::End(nth) if !self.in_flight.is_empty() => {
                let nth = nth % self.in_flight.len();
                let tier = self.in_flight.swap_remove(nth);
                self.end(tier);
            }
            Step::GiveUp(nth) if !self.waiting.is_empty() => {
                let nth = nth % self.waiting.len();
                let ticket = *self.waiting.iter().nth(nth).unwrap();
                self.waiting.remove(&ticket);
                assert!(self.queue.remove(ticket), "who waits can leave");
                assert!(!self.queue.remove(ticket), "once");
            }
            Step::End(_) | Step::GiveUp(_) => {}
            Step::Limit(limit) => {
                self.gate.set_limit(limit);
                self.fill();
            }
            Step::Pass(ms) => self.now += ms * MS,
        }
        self.check();
    }

    /// Lets everybody end, and looks at what is left.
    pub(super) fn drain(&mut self) {
        if self.gate.limit() == 0 {
            self.step(Step::Limit(1));
        }
        while !self.in_flight.is_empty() {
            self.step(Step::End(0));
        }
        assert!(self.waiting.is_empty(), "somebody was forgotten");
        assert!(self.gate.try_enter(LOW), "a mark of waiting was left");
        self.in_flight.push(LOW);
        self.end(LOW);
        self.in_flight.clear();
        assert_eq!(self.gate.in_flight(), 0);
    }

    fn arrive(&mut self, waiter: Waiter) {
        if self.gate.try_enter(waiter.tier) {
            assert!(self.waiting.is_empty(), "nobody passes those who wait");
            self.admit(waiter.tier);
            return;
        }
        match self.queue.offer(waiter, self.now) {
            Offer::Queued(queued) => {
                self.waiting.insert(queued.ticket);
            }
            Offer::Displacing(queued, victim) => {
                self.waiting.insert(queued.ticket);
                assert!(self.waiting.remove(&victim), "{victim:?} did not wait");
                self.check_victim(victim.tier());
            }
            Offer::Rejected(super::super::Rejection::TooLate) => {}
            Offer::Rejected(_) => {
                assert_eq!(self.waiting.len(), self.config.waiting_max as usize);
                self.check_victim(waiter.tier);
            }
        }
        self.fill();
    }

    /// Whoever loses a place is of the least important tier there, unless shares are guaranteed.
    fn check_victim(&self, victim: Tier) {
        let least = self.waiting.iter().map(|ticket| ticket.tier()).max();
        assert!(
            self.has_shares() || least.is_none_or(|least| least <= victim),
            "{victim} made room, and {least:?} waits"
        );
    }

    fn end(&mut self, tier: Tier) {
        if self.gate.leave(tier) == Leave::HandOver {
            let mut told = Vec::new();
            self.queue
                .hand_over(&self.gate, self.now, |next| told.push(next));
            self.hear(told);
        }
    }

    fn fill(&mut self) {
        let mut told = Vec::new();
        self.queue
            .fill(&self.gate, self.now, |next| told.push(next));
        self.hear(told);
    }

    fn hear(&mut self, told: Vec<Next>) {
        for next in told {
            let (Next::Admit(ticket) | Next::TooLate(ticket)) = next;
            assert!(self.waiting.remove(&ticket), "{ticket:?} did not wait");
            match next {
                Next::Admit(_) => {
                    self.check_order(ticket.tier());
                    self.admit(ticket.tier());
                }
                Next::TooLate(_) => assert!(ticket.leave_at < self.now, "{ticket:?}"),
            }
        }
    }

    /// The most important tier comes first, unless shares are guaranteed.
    fn check_order(&self, admitted: Tier) {
        let most = self.waiting.iter().map(|ticket| ticket.tier()).min();
        assert!(
            self.has_shares() || most.is_none_or(|most| admitted <= most),
            "{admitted} was admitted, and {most:?} waits"
        );
    }

    fn admit(&mut self, tier: Tier) {
        self.in_flight.push(tier);
        assert!(
            self.in_flight.len() <= self.gate.limit() as usize,
            "over the limit"
        );
    }

    fn check(&self) {
        assert_eq!(self.gate.in_flight() as usize, self.in_flight.len());
        assert_eq!(self.queue.len(), self.waiting.len());
        assert!(self.waiting.len() <= self.config.waiting_max as usize);
        assert!(
            self.waiting.is_empty() || self.gate.in_flight() >= self.gate.limit(),
            "somebody waits while there is room"
        );
        for tier in (0..Tier::COUNT as u8).filter_map(Tier::new) {
            let in_flight = self.in_flight.iter().filter(|&&of| of == tier).count();
            let waiting = self.waiting.iter().filter(|of| of.tier() == tier).count();
            assert_eq!(self.gate.in_flight_of(tier) as usize, in_flight);
            assert_eq!(self.queue.len_of(tier), waiting);
        }
    }

    fn has_shares(&self) -> bool {
        self.config.guaranteed.iter().any(|&share| share > 0)
    }
}
