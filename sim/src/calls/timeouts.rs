//! How long calls may take: ours that learns, and the usual ones.

use std::collections::VecDeque;
use std::time::Duration;

use steadfast::decide::sketch::{Histogram, Sketch};
use steadfast::decide::timeout::{
    AdaptiveTimeout, CallTimeout, Ended, TimeoutConfig, count_call, record,
};

use crate::load::{MS, SECOND};

/// What a call was given.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// How long it may take, in nanoseconds.
    pub ns: u64,
    ours: Option<CallTimeout>,
}

/// Says how long calls may take.
pub trait Timeouts {
    /// Gives a call that begins at `now` its time.
    fn begin(&mut self, now: u64) -> Given;

    /// Hears that a call was answered, or cut, after so many nanoseconds.
    fn ended(&mut self, given: Given, after_ns: u64, answered: bool, now: u64);

    /// Hears that a second is over.
    fn second(&mut self, now: u64) {
        let _ = now;
    }

    /// Returns what a usual call is given, in nanoseconds.
    fn usual_ns(&self) -> u64;
}

/// A number in a file.
#[derive(Clone, Copy, Debug)]
pub struct FixedTimeout(pub u64);

/// Ours, as a shell would drive it.
#[derive(Debug)]
pub struct Learned {
    learned: AdaptiveTimeout,
    sketch: Sketch,
    permits: Option<u32>,
    calls: u64,
    /// Kept for its memory.
    ended: Histogram,
}

/// A factor times the 99th percentile of the last ten seconds, taken each second.
#[derive(Clone, Debug)]
pub struct Percentile {
    factor: f64,
    /// A cut call is recorded as this many times what it was given.
    cut_as: f64,
    ceiling_ns: u64,
    timeout_ns: u64,
    values: VecDeque<(u64, u64)>,
}

/// How many values it takes to tell a 99th percentile.
const ENOUGH: usize = 100;

// === impl Given ===

impl Given {
    fn plain(ns: u64) -> Self {
        Self { ns, ours: None }
    }
}

// === impl FixedTimeout ===

impl Timeouts for FixedTimeout {
    fn begin(&mut self, _: u64) -> Given {
        Given::plain(self.0)
    }

    fn ended(&mut self, _: Given, _: u64, _: bool, _: u64) {}

    fn usual_ns(&self) -> u64 {
        self.0
    }
}

// === impl Learned ===

impl Learned {
    /// Learns from a floor to a ceiling, both in nanoseconds, for calls that share so many permits.
    ///
    /// # Panics
    ///
    /// If a number is out of range.
    #[must_use]
    pub fn new(floor_ns: u64, ceiling_ns: u64, permits: Option<u32>) -> Self {
        let nanos = Duration::from_nanos;
        let config = TimeoutConfig::new(nanos(floor_ns), nanos(ceiling_ns));
        Self::with_config(config.expect("within the bounds"), permits)
    }

    /// Learns as a config says.
    ///
    /// # Panics
    ///
    /// Never: windows of a second are within the bounds.
    #[must_use]
    pub fn with_config(config: TimeoutConfig, permits: Option<u32>) -> Self {
        Self {
            learned: AdaptiveTimeout::new(config),
            sketch: Sketch::new(Duration::from_secs(1), 2).expect("within the bounds"),
            permits,
            calls: 0,
            ended: Histogram::new(),
        }
    }
}

impl Timeouts for Learned {
    fn begin(&mut self, now: u64) -> Given {
        let timeout = self.learned.plan().for_call(self.calls, None);
        self.calls += 1;
        count_call(&self.sketch, now);
        Given {
            ns: timeout.get().as_nanos() as u64,
            ours: Some(timeout),
        }
    }

    fn ended(&mut self, given: Given, after_ns: u64, answered: bool, now: u64) {
        let after = Duration::from_nanos(after_ns);
        let ended = if answered {
            Ended::Answered(after)
        } else {
            Ended::Cut(after)
        };
        let timeout = given.ours.expect("a call of this");
        record(&self.sketch, timeout, ended, now);
    }

    fn second(&mut self, now: u64) {
        self.sketch.read_ended(now, &mut self.ended);
        self.learned.learn(&self.ended, self.permits);
    }

    fn usual_ns(&self) -> u64 {
        self.learned.plan().usual().as_nanos() as u64
    }
}

// === impl Percentile ===

impl Percentile {
    /// Follows `factor` times the percentile, up to a ceiling; a cut call is recorded as `cut_as`
    /// times what it was given.
    #[must_use]
    pub fn new(factor: f64, cut_as: f64, ceiling_ns: u64) -> Self {
        Self {
            factor,
            cut_as,
            ceiling_ns,
            timeout_ns: ceiling_ns,
            values: VecDeque::new(),
        }
    }
}

impl Timeouts for Percentile {
    fn begin(&mut self, _: u64) -> Given {
        Given::plain(self.timeout_ns)
    }

    fn ended(&mut self, given: Given, after_ns: u64, answered: bool, now: u64) {
        let value = if answered {
            after_ns
        } else {
            (given.ns as f64 * self.cut_as) as u64
        };
        self.values.push_back((now, value));
    }

    fn second(&mut self, now: u64) {
        let since = now.saturating_sub(10 * SECOND);
        while self.values.front().is_some_and(|&(at, _)| at < since) {
            self.values.pop_front();
        }
        if self.values.len() < ENOUGH {
            return;
        }
        let mut sorted: Vec<u64> = self.values.iter().map(|&(_, value)| value).collect();
        let rank = (sorted.len() * 99).div_ceil(100) - 1;
        let (_, &mut p99, _) = sorted.select_nth_unstable(rank);
        let timeout_ns = (p99 as f64 * self.factor) as u64;
        self.timeout_ns = timeout_ns.clamp(MS, self.ceiling_ns);
    }

    fn usual_ns(&self) -> u64 {
        self.timeout_ns
    }
}
