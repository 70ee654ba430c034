//! Who stops calls to something that does not work: our breaker, and the usual ones.

use std::collections::VecDeque;
use std::time::Duration;

use steadfast::decide::breaker::{Breaker, BreakerConfig, CallEnd, Permit};

/// Stops calls.
pub trait Guarding {
    /// Says whether a call may be made at `now`.
    fn ask(&mut self, now: u64) -> Option<Passed>;

    /// Hears how a call ended.
    fn ended(&mut self, passed: Passed, failed: bool, took_ns: u64, now: u64);

    /// Hears that nobody waits for a call any more.
    fn abandoned(&mut self, passed: Passed, now: u64) {
        let _ = (passed, now);
    }

    /// Says whether all calls pass.
    fn is_closed(&self, now: u64) -> bool;
}

/// A call that may be made.
#[derive(Debug, Default)]
pub struct Passed(Option<Permit>);

/// Ours.
#[derive(Debug)]
pub struct OurBreaker(pub Breaker);

/// Trips when a share of all calls since the start has failed, and never comes back.
#[derive(Clone, Copy, Debug)]
pub struct NeverSlides {
    share: f64,
    least: u64,
    slow_ns: u64,
    calls: u64,
    failed: u64,
    slow: u64,
    open: bool,
}

/// Trips when a share of the last so many calls has failed, and never comes back.
#[derive(Clone, Debug)]
pub struct ShareOfLast {
    share: f64,
    most: usize,
    last: VecDeque<bool>,
    open: bool,
}

/// Trips after so many failures without a success, and never comes back.
#[derive(Clone, Copy, Debug)]
pub struct InARow {
    most: u32,
    failures: u32,
}

// === impl Passed ===

impl Passed {
    /// Says whether the call probes a target that was down.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.0.as_ref().is_some_and(Permit::is_probe)
    }
}

// === impl OurBreaker ===

impl OurBreaker {
    /// Makes one from a config.
    ///
    /// # Panics
    ///
    /// If it could never trip.
    #[must_use]
    pub fn new(config: BreakerConfig, seed: u64) -> Self {
        Self(Breaker::new(config, seed).expect("a reason to trip"))
    }
}

impl Guarding for OurBreaker {
    fn ask(&mut self, now: u64) -> Option<Passed> {
        let permit = self.0.ask(now).verdict.ok()?;
        Some(Passed(Some(permit)))
    }

    fn ended(&mut self, passed: Passed, failed: bool, took_ns: u64, now: u64) {
        let took = Duration::from_nanos(took_ns);
        let end = if failed {
            CallEnd::failed(took)
        } else {
            CallEnd::succeeded(took)
        };
        self.0.record(passed.0.expect("a call of this"), end, now);
    }

    fn abandoned(&mut self, passed: Passed, _: u64) {
        self.0.abandon(passed.0.expect("a call of this"));
    }

    fn is_closed(&self, now: u64) -> bool {
        self.0.is_closed(now)
    }
}

// === impl NeverSlides ===

impl NeverSlides {
    /// Trips at this share of failures, or half of all calls slower than `slow_ns`, of at least so
    /// many calls.
    #[must_use]
    pub fn new(share: f64, least: u64, slow_ns: u64) -> Self {
        Self {
            share,
            least,
            slow_ns,
            calls: 0,
            failed: 0,
            slow: 0,
            open: false,
        }
    }
}

impl Guarding for NeverSlides {
    fn ask(&mut self, _: u64) -> Option<Passed> {
        (!self.open).then(Passed::default)
    }

    fn ended(&mut self, _: Passed, failed: bool, took_ns: u64, _: u64) {
        self.calls += 1;
        self.failed += u64::from(failed);
        self.slow += u64::from(took_ns > self.slow_ns);
        let reaches = |part: u64, share: f64| part as f64 >= share * self.calls as f64;
        self.open |= self.calls >= self.least
            && (reaches(self.failed, self.share) || reaches(self.slow, 0.5));
    }

    fn is_closed(&self, _: u64) -> bool {
        !self.open
    }
}

// === impl ShareOfLast ===

impl ShareOfLast {
    /// Trips at this share of the last so many calls, once there were as many.
    #[must_use]
    pub fn new(share: f64, most: usize) -> Self {
        Self {
            share,
            most,
            last: VecDeque::new(),
            open: false,
        }
    }
}

impl Guarding for ShareOfLast {
    fn ask(&mut self, _: u64) -> Option<Passed> {
        (!self.open).then(Passed::default)
    }

    fn ended(&mut self, _: Passed, failed: bool, _: u64, _: u64) {
        self.last.push_back(failed);
        if self.last.len() > self.most {
            self.last.pop_front();
        }
        // Only a failure can bring the share up.
        if failed && self.last.len() == self.most {
            let failures = self.last.iter().filter(|failed| **failed).count();
            self.open |= failures as f64 >= self.share * self.most as f64;
        }
    }

    fn is_closed(&self, _: u64) -> bool {
        !self.open
    }
}

// === impl InARow ===

impl InARow {
    /// Trips after so many.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { most, failures: 0 }
    }
}

impl Guarding for InARow {
    fn ask(&mut self, now: u64) -> Option<Passed> {
        self.is_closed(now).then(Passed::default)
    }

    fn ended(&mut self, _: Passed, failed: bool, _: u64, _: u64) {
        self.failures = if failed { self.failures + 1 } else { 0 };
    }

    fn is_closed(&self, _: u64) -> bool {
        self.failures < self.most
    }
}
