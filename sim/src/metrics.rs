//! What a run showed, by tier and second.

use std::ops::Range;

use steadfast::context::Tier;

use crate::load::{SECOND, WORKERS};

/// What became of the requests that first came in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many came.
    pub offered: u64,
    /// How many were answered in time: goodput.
    pub good: u64,
    /// How many were rejected, in their last attempt.
    pub rejected: u64,
    /// How many were given up by the client, in their last attempt.
    pub late: u64,
    /// How many attempts they made.
    pub attempts: u64,
}

/// A request that was served, also when nobody waited for it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Whose it was.
    pub tier: Tier,
    /// When the attempt came, in nanoseconds.
    pub arrived: u64,
    /// From then to the answer, in nanoseconds.
    pub took: u64,
    /// For how much of it a worker was busy with it, in nanoseconds.
    pub worked: u64,
}

/// Everything a run showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    tenths: Vec<[Count; Tier::COUNT]>,
    served: Vec<Served>,
    limits: Vec<(u64, u32)>,
}

/// A tenth of a second, as fine as anything is told apart.
pub const TENTH: u64 = SECOND / 10;

// === impl Metrics ===

impl Metrics {
    /// Returns the counters of a tier for requests that first came at `arrived`.
    pub fn at(&mut self, tier: Tier, arrived: u64) -> &mut Count {
        let tenth = (arrived / TENTH) as usize;
        if self.tenths.len() <= tenth {
            self.tenths.resize(tenth + 1, Default::default());
        }
        &mut self.tenths[tenth][usize::from(tier.number())]
    }

    pub(crate) fn push_served(&mut self, served: Served) {
        self.served.push(served);
    }

    pub(crate) fn push_limit(&mut self, now: u64, limit: u32) {
        self.limits.push((now, limit));
    }

    /// Returns the limit of the front at each tenth of a second.
    #[must_use]
    pub fn limits(&self) -> &[(u64, u32)] {
        &self.limits
    }

    /// Returns the counters of all tiers, a tenth of a second each.
    pub fn tenths(&self) -> impl DoubleEndedIterator<Item = Count> + ExactSizeIterator + '_ {
        self.tenths
            .iter()
            .map(|tenth| tenth.iter().copied().fold(Count::default(), Count::and))
    }

    /// Adds up a tier over the seconds in the range.
    #[must_use]
    pub fn sum(&self, tier: Tier, seconds: Range<u64>) -> Count {
        self.slice(seconds)
            .iter()
            .map(|tenth| tenth[usize::from(tier.number())])
            .fold(Count::default(), Count::and)
    }

    /// Adds up all tiers over the seconds in the range.
    #[must_use]
    pub fn total(&self, seconds: Range<u64>) -> Count {
        self.slice(seconds)
            .iter()
            .flatten()
            .copied()
            .fold(Count::default(), Count::and)
    }

    /// Returns what came and was answered in time, by second, for a chart.
    #[must_use]
    pub fn goodput(&self, tier: Option<Tier>) -> Vec<(f64, f64)> {
        (0..self.tenths.len() as u64 / 10)
            .map(|second| {
                let count = match tier {
                    Some(tier) => self.sum(tier, second..second + 1),
                    None => self.total(second..second + 1),
                };
                (second as f64 + 0.5, count.good as f64)
            })
            .collect()
    }

    fn slice(&self, seconds: Range<u64>) -> &[[Count; Tier::COUNT]] {
        let end = (10 * seconds.end as usize).min(self.tenths.len());
        &self.tenths[(10 * seconds.start as usize).min(end)..end]
    }

    /// Returns how many answers came in the range of seconds, at most `patience` after their attempt.
    #[must_use]
    pub fn answered(&self, seconds: Range<u64>, patience: u64) -> u64 {
        let (from, to) = (seconds.start * SECOND, seconds.end * SECOND);
        let answers = self.served.iter().filter(|served| {
            served.took <= patience && (from..to).contains(&(served.arrived + served.took))
        });
        answers.count() as u64
    }

    /// Returns how long those services took on average that lie within the seconds in the range, in
    /// milliseconds.
    #[must_use]
    pub fn mean_service_ms(&self, seconds: Range<u64>) -> f64 {
        let (from, to) = (seconds.start * SECOND, seconds.end * SECOND);
        let within = self.served.iter().filter(|served| {
            let ended = served.arrived + served.took;
            ended < to && ended - served.worked >= from
        });
        let (sum, count) = within.fold((0, 0u64), |(sum, count), served| {
            (sum + served.worked, count + 1)
        });
        sum as f64 / count.max(1) as f64 / 1e6
    }

    /// Returns what came in the range of seconds and was answered in time, in percent of what the
    /// workers could do in that time with services as they were drawn.
    #[must_use]
    pub fn percent_of_capacity(&self, seconds: Range<u64>) -> f64 {
        let mean_ms = self.mean_service_ms(seconds.clone());
        let capacity = WORKERS * 1e3 * (seconds.end - seconds.start) as f64 / mean_ms.max(1e-6);
        100.0 * self.total(seconds).good as f64 / capacity
    }

    /// Returns the time that `share` of the served requests of a tier did not exceed, of those that
    /// came in the range of seconds, in milliseconds.
    #[must_use]
    pub fn quantile_ms(&self, tier: Tier, seconds: Range<u64>, share: f64) -> f64 {
        let (from, to) = (seconds.start * SECOND, seconds.end * SECOND);
        let mut took: Vec<u64> = self
            .served
            .iter()
            .filter(|served| served.tier == tier && (from..to).contains(&served.arrived))
            .map(|served| served.took)
            .collect();
        if took.is_empty() {
            return 0.0;
        }
        took.sort_unstable();
        let rank = (took.len() as f64 * share).ceil() as usize;
        took[rank.clamp(1, took.len()) - 1] as f64 / 1e6
    }
}

// === impl Count ===

impl Count {
    fn and(self, other: Self) -> Self {
        Self {
            offered: self.offered + other.offered,
            good: self.good + other.good,
            rejected: self.rejected + other.rejected,
            late: self.late + other.late,
            attempts: self.attempts + other.attempts,
        }
    }

    /// Returns the part of the requests that was answered in time; 1 if none came.
    #[must_use]
    pub fn success(&self) -> f64 {
        if self.offered == 0 {
            1.0
        } else {
            self.good as f64 / self.offered as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_ranks_among_those_that_came_in_the_range() {
        let mut metrics = Metrics::default();
        for took in 1..=100 {
            metrics.push_served(Served {
                tier: Tier::CORE,
                arrived: SECOND,
                took: took * 1_000_000,
                worked: 0,
            });
        }

        assert_eq!(metrics.quantile_ms(Tier::CORE, 1..2, 0.99), 99.0);
        assert_eq!(metrics.quantile_ms(Tier::CORE, 1..2, 0.001), 1.0);
        assert_eq!(metrics.quantile_ms(Tier::CORE, 0..1, 0.99), 0.0);
        assert_eq!(metrics.quantile_ms(Tier::DEFAULT, 1..2, 0.99), 0.0);
    }
}
