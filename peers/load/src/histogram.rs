//! Latencies in buckets whose width grows with them.

use std::time::Duration;

/// Sub-buckets of each power of two: a value is told at most 1/128 too high.
const SUB_BITS: u32 = 7;

/// Counts durations with a relative error below one percent, from a nanosecond to five centuries.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = (u64::BITS - SUB_BITS + 1) << SUB_BITS;
        Histogram {
            counts: vec![0; buckets as usize],
            total: 0,
        }
    }
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, value: Duration) {
        let ns = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(ns)] += 1;
        self.total += 1;
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The smallest value that a share `quantile` of all does not exceed, at most a percent too high; `None` when
    /// nothing was counted.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        if self.total == 0 {
            return None;
        }
        let rank = (quantile.clamp(0.0, 1.0) * self.total as f64)
            .ceil()
            .max(1.0) as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|&count| {
            seen += count;
            seen >= rank
        });
        found.map(|bucket| Duration::from_nanos(highest(bucket)))
    }
}

/// Values below 2^SUB_BITS have a bucket each; above, each power of two has 2^SUB_BITS.
fn bucket(ns: u64) -> usize {
    let shift = (u64::BITS - ns.leading_zeros()).saturating_sub(SUB_BITS + 1);
    ((u64::from(shift) << SUB_BITS) + (ns >> shift)) as usize
}

fn highest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket >> SUB_BITS).saturating_sub(1);
    let lowest = (bucket - (shift << SUB_BITS)) << shift;
    lowest + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_lies_in_its_bucket_and_is_told_within_a_percent() {
        let near_powers = (0..64).flat_map(|bit| {
            let power = 1_u64 << bit;
            [power - 1, power, power + 1, power + power / 3]
        });
        for ns in near_powers.chain([u64::MAX]) {
            let told = highest(bucket(ns));

            assert!(
                told >= ns && told - ns <= ns / 128,
                "{ns} is told as {told}"
            );
            assert!(bucket(ns) < Histogram::default().counts.len());
        }
    }

    #[test]
    fn quantiles_are_ranks() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for ns in 1..=100 {
            histogram.record(Duration::from_nanos(ns));
        }

        let ns = |quantile| histogram.quantile(quantile).map(|value| value.as_nanos());
        assert_eq!(
            [ns(0.0), ns(0.5), ns(0.99), ns(0.999), ns(1.0)],
            [Some(1), Some(50), Some(99), Some(100), Some(100)]
        );
        assert_eq!(histogram.count(), 100);
    }
}
