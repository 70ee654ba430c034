//! What a run showed, by tier and second.

use steadfast::context::Tier;

use crate::load::SECOND;

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
}

/// Everything a run showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    seconds: Vec<[Count; Tier::COUNT]>,
    served: Vec<Served>,
    limits: Vec<(u64, u32)>,
}

// === impl Metrics ===

impl Metrics {
    /// Returns the counters of a tier for requests that first came at `arrived`.
    pub fn at(&mut self, tier: Tier, arrived: u64) -> &mut Count {
        let second = (arrived / SECOND) as usize;
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, Default::default());
        }
        &mut self.seconds[second][usize::from(tier.number())]
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

    /// Returns the counters of a tier, a second each.
    pub fn seconds(&self, tier: Tier) -> impl Iterator<Item = Count> + '_ {
        self.seconds
            .iter()
            .map(move |second| second[usize::from(tier.number())])
    }

    /// Adds up a tier over the seconds in the range.
    #[must_use]
    pub fn sum(&self, tier: Tier, seconds: std::ops::Range<usize>) -> Count {
        let taken = self.seconds(tier).take(seconds.end).skip(seconds.start);
        taken.fold(Count::default(), Count::and)
    }

    /// Adds up all tiers over the seconds in the range.
    #[must_use]
    pub fn total(&self, seconds: std::ops::Range<usize>) -> Count {
        let tiers = (0..Tier::COUNT as u8).filter_map(Tier::new);
        tiers
            .map(|tier| self.sum(tier, seconds.clone()))
            .fold(Count::default(), Count::and)
    }

    /// Returns the time that `share` of the served requests of a tier did not exceed, of those that
    /// came in the range of seconds, in milliseconds.
    #[must_use]
    pub fn quantile_ms(&self, tier: Tier, seconds: std::ops::Range<usize>, share: f64) -> f64 {
        let (from, to) = (seconds.start as u64 * SECOND, seconds.end as u64 * SECOND);
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
            });
        }

        assert_eq!(metrics.quantile_ms(Tier::CORE, 1..2, 0.99), 99.0);
        assert_eq!(metrics.quantile_ms(Tier::CORE, 1..2, 0.001), 1.0);
        assert_eq!(metrics.quantile_ms(Tier::CORE, 0..1, 0.99), 0.0);
        assert_eq!(metrics.quantile_ms(Tier::DEFAULT, 1..2, 0.99), 0.0);
    }
}
