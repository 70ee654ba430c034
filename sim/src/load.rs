//! What comes in, and how long it takes: the model that the scenarios share.

use steadfast::context::Tier;

use crate::rng::{Rng, exp};

/// A millisecond, in the nanoseconds that everything counts in.
pub const MS: u64 = 1_000_000;

/// A second, in nanoseconds.
pub const SECOND: u64 = 1_000 * MS;

/// The mean time of service: 10 ms.
pub const SERVICE: u64 = 10 * MS;

/// The workers of the server: 10, so that it can do 1,000 requests a second.
pub const WORKERS: f64 = 10.0;

/// What the server can do, in requests a second.
pub const CAPACITY: f64 = 1_000.0;

/// How long an answer is of use: 500 ms.
pub const PATIENCE: u64 = 500 * MS;

/// How the time of service is distributed around its mean of [`SERVICE`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Service {
    /// Exponentially.
    Exponential,
    /// Lognormally, with this sigma.
    Lognormal(f64),
}

/// The distributions that each target has to hold for.
pub const SERVICES: [Service; 4] = [
    Service::Exponential,
    Service::Lognormal(0.3),
    Service::Lognormal(0.6),
    Service::Lognormal(1.0),
];

/// Requests of one tier that arrive by chance, at a rate that changes in steps.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Their tier.
    pub tier: Tier,
    /// From when on how many arrive a second; ascending, the first from 0.
    pub rate: Vec<(u64, f64)>,
    /// From how many users, each as busy as the others.
    pub users: u64,
}

/// A value that changes in steps: from when on which, ascending, the first from 0.
pub type Steps = Vec<(u64, f64)>;

/// Returns the value in force at `now`, and the instant of the next step.
#[must_use]
pub fn in_force(steps: &[(u64, f64)], now: u64) -> (f64, Option<u64>) {
    let next = steps.partition_point(|&(from, _)| from <= now);
    let value = next.checked_sub(1).map_or(0.0, |last| steps[last].1);
    (value, steps.get(next).map(|&(from, _)| from))
}

// === impl Service ===

impl Service {
    /// Draws a time of service, in nanoseconds.
    pub fn draw(self, rng: &mut Rng) -> u64 {
        let mean = SERVICE as f64;
        let ns = match self {
            Self::Exponential => rng.exp(mean),
            Self::Lognormal(sigma) => rng.lognormal(mean * exp(-sigma * sigma / 2.0), sigma),
        };
        ns as u64
    }

    /// Draws a time with another mean, in nanoseconds.
    pub fn draw_around(self, mean_ns: u64, rng: &mut Rng) -> u64 {
        (self.draw(rng) as f64 * (mean_ns as f64 / SERVICE as f64)) as u64
    }

    /// Returns the time that 99 % of all draws with this mean do not exceed, in nanoseconds.
    #[must_use]
    pub fn p99_around(self, mean_ns: u64) -> u64 {
        let of_mean = match self {
            // The logarithm of 100.
            Self::Exponential => 4.605_170_186,
            // The 99th percentile of the normal distribution.
            Self::Lognormal(sigma) => exp(sigma * 2.326_347_874 - sigma * sigma / 2.0),
        };
        (mean_ns as f64 * of_mean) as u64
    }
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exponential => f.write_str("exponential"),
            Self::Lognormal(sigma) => write!(f, "lognormal σ {sigma:.1}"),
        }
    }
}

// === impl Stream ===

impl Stream {
    /// Makes a stream of requests without users.
    #[must_use]
    pub fn new(tier: Tier, rate: Vec<(u64, f64)>) -> Self {
        Self {
            tier,
            rate,
            users: 1,
        }
    }

    /// Draws the instant of the next arrival after `now`; `None` if there is none any more.
    pub fn next(&self, mut now: u64, rng: &mut Rng) -> Option<u64> {
        loop {
            let (rate, change) = in_force(&self.rate, now);
            if rate > 0.0 {
                let next = now + (rng.exp(SECOND as f64 / rate) as u64).max(1);
                if change.is_none_or(|change| next < change) {
                    return Some(next);
                }
            }
            // Arrivals have no memory: what would have come after the step is drawn anew from it.
            now = change?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_the_same_mean() {
        for service in SERVICES {
            let mut rng = Rng::new(3);
            let sum: u64 = (0..200_000).map(|_| service.draw(&mut rng)).sum();
            let mean_ms = sum as f64 / 200_000.0 / MS as f64;

            assert!((9.9..10.1).contains(&mean_ms), "{service}: {mean_ms}");
        }
    }

    #[test]
    fn one_draw_in_a_hundred_exceeds_the_99th_percentile() {
        for service in SERVICES {
            let (mut rng, mean) = (Rng::new(5), 40 * MS);
            let p99 = service.p99_around(mean);
            let over = (0..200_000).filter(|_| service.draw_around(mean, &mut rng) > p99);

            let over = over.count();
            assert!((1_850..2_150).contains(&over), "{service}: {over}");
        }
    }

    #[test]
    fn arrivals_follow_the_steps_of_the_rate() {
        let stream = Stream::new(
            Tier::CORE,
            vec![(0, 100.0), (10 * SECOND, 0.0), (20 * SECOND, 1_000.0)],
        );
        let mut rng = Rng::new(4);
        let mut seconds = [0u32; 30];
        let mut now = 0;
        while let Some(next) = stream.next(now, &mut rng) {
            now = next;
            let Some(count) = seconds.get_mut((now / SECOND) as usize) else {
                break;
            };
            *count += 1;
        }

        assert!(seconds[..10].iter().all(|count| (60..140).contains(count)));
        assert!(seconds[10..20].iter().all(|&count| count == 0));
        assert!(
            seconds[20..]
                .iter()
                .all(|count| (870..1_130).contains(count))
        );
    }
}
