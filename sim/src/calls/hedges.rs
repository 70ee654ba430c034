//! Who sends a second attempt beside a first that takes long: ours, and the usual ones.

use std::time::Duration;

use steadfast::decide::budget::Replay;
use steadfast::decide::hedge::{Hedge, HedgeCall};
use steadfast::decide::sketch::{Histogram, Memory};

/// Sends second attempts.
pub trait Hedging {
    /// Says after how many nanoseconds without an answer to look again.
    fn plan(&self) -> Option<u64>;

    /// Says whether a second attempt is sent.
    fn send(&mut self, now: u64) -> bool;

    /// Hears how long a call took to its first answer.
    fn ended(&mut self, took_ns: u64, now: u64);

    /// Hears that a second is over.
    fn second(&mut self);
}

/// Sends none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Never;

/// Ours, as a shell would drive it.
#[derive(Clone, Debug)]
pub struct Hedged {
    hedge: Hedge,
    second: Histogram,
}

/// Sends one after a delay or a live percentile, whatever it costs.
#[derive(Clone, Debug)]
pub struct Unbudgeted {
    delay: Option<u64>,
    quantile: f64,
    memory: Memory,
    second: Histogram,
    /// Of so many calls, one at most is hedged; 0 for no bound.
    one_in: u64,
    calls: u64,
    sent: u64,
}

const CALL: fn() -> HedgeCall = || HedgeCall::new(Replay::Safe, true);

// === impl Never ===

impl Hedging for Never {
    fn plan(&self) -> Option<u64> {
        None
    }

    fn send(&mut self, _: u64) -> bool {
        false
    }

    fn ended(&mut self, _: u64, _: u64) {}

    fn second(&mut self) {}
}

// === impl Hedged ===

impl Hedged {
    /// Hedges up to a share of the calls, with a delay from 1 ms to 1 s.
    ///
    /// # Panics
    ///
    /// If the share is out of range.
    #[must_use]
    pub fn new(share: f64) -> Self {
        let (shortest, longest) = (Duration::from_millis(1), Duration::from_secs(1));
        let hedge = Hedge::learned(share, shortest, longest);
        Self {
            hedge: hedge.expect("within the bounds"),
            second: Histogram::new(),
        }
    }
}

impl Hedging for Hedged {
    fn plan(&self) -> Option<u64> {
        let delay = self.hedge.plan(&CALL()).ok()?;
        Some(delay.as_nanos() as u64)
    }

    fn send(&mut self, now: u64) -> bool {
        self.hedge.send(&CALL(), now).is_ok()
    }

    fn ended(&mut self, took_ns: u64, now: u64) {
        self.second.record(took_ns);
        self.hedge.count_success(now);
    }

    fn second(&mut self) {
        self.hedge.learn(&self.second);
        self.second.clear();
    }
}

// === impl Unbudgeted ===

impl Unbudgeted {
    /// Sends one after a delay that somebody wrote down.
    #[must_use]
    pub fn after(delay_ns: u64) -> Self {
        Self {
            delay: Some(delay_ns),
            quantile: 0.0,
            memory: Memory::new(),
            second: Histogram::new(),
            one_in: 0,
            calls: 0,
            sent: 0,
        }
    }

    /// Sends one after the live percentile.
    #[must_use]
    pub fn at_quantile(quantile: f64) -> Self {
        Self {
            delay: None,
            quantile,
            ..Self::after(0)
        }
    }

    /// Sends one in so many calls at most.
    #[must_use]
    pub fn one_in(mut self, calls: u64) -> Self {
        self.one_in = calls;
        self
    }
}

impl Hedging for Unbudgeted {
    fn plan(&self) -> Option<u64> {
        self.delay.or_else(|| {
            (self.memory.mass() >= Hedge::FIRST).then(|| self.memory.quantile(self.quantile))?
        })
    }

    fn send(&mut self, _: u64) -> bool {
        let send = self.one_in == 0 || (self.sent + 1) * self.one_in <= self.calls;
        self.sent += u64::from(send);
        send
    }

    fn ended(&mut self, took_ns: u64, _: u64) {
        self.second.record(took_ns);
        self.calls += 1;
    }

    fn second(&mut self) {
        self.memory.learn(&self.second);
        self.second.clear();
    }
}
