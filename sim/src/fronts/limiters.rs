//! The usual limiters, for comparison: simple forms under our model, no product's.

use super::Limiter;

/// No limit at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl Limiter for Unlimited {
    fn limit(&self) -> u32 {
        u32::MAX
    }

    fn sample(&mut self, _: u64, _: u32, _: bool, _: u64) {}
}

/// A number in a file.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(pub u32);

impl Limiter for Fixed {
    fn limit(&self) -> u32 {
        self.0
    }

    fn sample(&mut self, _: u64, _: u32, _: bool, _: u64) {}
}

/// Compares each sample with the fastest ever seen, and wants 3 to 6 requests to queue.
#[derive(Clone, Copy, Debug)]
pub struct Vegas {
    limit: f64,
    fastest: u64,
}

impl Vegas {
    /// Makes one that starts at `limit`.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self {
            limit: f64::from(limit),
            fastest: u64::MAX,
        }
    }
}

impl Limiter for Vegas {
    fn limit(&self) -> u32 {
        self.limit as u32
    }

    fn sample(&mut self, rtt_ns: u64, in_flight: u32, late: bool, _: u64) {
        self.fastest = self.fastest.min(rtt_ns);
        let queued = self.limit * (1.0 - self.fastest as f64 / rtt_ns as f64);
        let used = 2.0 * f64::from(in_flight) >= self.limit;
        if late || queued > 6.0 {
            self.limit = (self.limit - 1.0).max(1.0);
        } else if used && queued < 3.0 {
            self.limit += 1.0;
        }
    }
}

/// Grows by one with each answer in time, whether the limit was used or not, and takes a tenth off for
/// each late one.
#[derive(Clone, Copy, Debug)]
pub struct Aimd {
    limit: f64,
}

impl Aimd {
    /// Makes one that starts at `limit`.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self {
            limit: f64::from(limit),
        }
    }
}

impl Limiter for Aimd {
    fn limit(&self) -> u32 {
        self.limit as u32
    }

    fn sample(&mut self, _: u64, _: u32, late: bool, _: u64) {
        if late {
            self.limit = (0.9 * self.limit).max(1.0);
        } else {
            self.limit += 1.0;
        }
    }
}
