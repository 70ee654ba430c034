//! When requests are due: known before anything is answered, and the same for the same seed.

use std::time::Duration;

/// Arrivals by chance, at a rate on average.
pub(super) struct Schedule {
    rate: f64,
    at_s: f64,
    lasts_s: f64,
    state: u64,
}

impl Schedule {
    pub(super) fn new(rate: f64, lasts: Duration, seed: u64) -> Self {
        Self {
            rate,
            at_s: 0.0,
            lasts_s: lasts.as_secs_f64(),
            state: seed,
        }
    }

    /// A number over 0 and up to 1, by SplitMix64.
    fn unit(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((z >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.at_s += -self.unit().ln() / self.rate;
        (self.at_s < self.lasts_s).then(|| Duration::from_secs_f64(self.at_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_come_in_order_at_the_rate_on_average_and_again_for_one_seed() {
        let schedule = || Schedule::new(100.0, Duration::from_secs(100), 7).collect::<Vec<_>>();

        let due = schedule();

        // Four standard deviations.
        assert!((9_600..=10_400).contains(&due.len()), "{}", due.len());
        assert!(due.is_sorted());
        assert!(due.last().unwrap() < &Duration::from_secs(100));
        assert_eq!(due, schedule());
        assert_eq!(Schedule::new(0.0, Duration::from_secs(9), 7).count(), 0);
    }
}
