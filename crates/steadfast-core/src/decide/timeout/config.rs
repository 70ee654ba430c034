//! The numbers that bound what is learned.

use std::time::Duration;

/// Says between which bounds a timeout is learned, and how.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use steadfast_core::decide::timeout::TimeoutConfig;
///
/// let config = TimeoutConfig::new(Duration::from_millis(200), Duration::from_secs(30))?
///     .with_permit_share(0.25)?;
/// assert_eq!(config.floor(), Duration::from_millis(200));
/// # Ok::<(), steadfast_core::decide::timeout::InvalidTimeout>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeoutConfig {
    pub(super) floor_ns: u64,
    pub(super) ceiling_ns: u64,
    pub(super) factor: f64,
    pub(super) quantile: f64,
    pub(super) permit_share: f64,
}

/// Refuses a [`TimeoutConfig`] whose numbers are out of range.
///
/// The message names the bound. Trying again with the same numbers fails again.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidTimeout(#[from] Refusal);

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
enum Refusal {
    #[error(
        "{name} {value:?} is not from {least:?} to {most:?}",
        least = TimeoutConfig::SHORTEST,
        most = TimeoutConfig::LONGEST
    )]
    Bound { name: &'static str, value: Duration },
    #[error("floor {floor:?} is over the ceiling {ceiling:?}")]
    Swapped { floor: Duration, ceiling: Duration },
    #[error("factor {0} is not from {least} to {most}",
        least = TimeoutConfig::LEAST_FACTOR,
        most = TimeoutConfig::MOST_FACTOR)]
    Factor(f64),
    #[error("quantile {0} is not from {least} to {most}",
        least = TimeoutConfig::LEAST_QUANTILE,
        most = TimeoutConfig::MOST_QUANTILE)]
    Quantile(f64),
    #[error("permit share {0} is not over 0 and up to 1")]
    PermitShare(f64),
}

// === impl TimeoutConfig ===

impl TimeoutConfig {
    /// The shortest timeout: 1 ms, which timers can still keep.
    pub const SHORTEST: Duration = Duration::from_millis(1);

    /// The longest timeout: 1 minute, within the range of a sketch also when doubled.
    ///
    /// What takes longer is a job and not a call.
    pub const LONGEST: Duration = Duration::from_secs(60);

    /// The factor unless set: 2.
    ///
    /// Twice the 99th percentile cuts 1 to 2 calls in a thousand of lognormal times with σ = 1, and
    /// fewer of anything narrower.
    pub const DEFAULT_FACTOR: f64 = 2.0;

    /// The least factor: 1.5. At the percentile itself the timeout feeds on what it cuts.
    pub const LEAST_FACTOR: f64 = 1.5;

    /// The greatest factor: 10.
    pub const MOST_FACTOR: f64 = 10.0;

    /// The quantile unless set: 0.99.
    pub const DEFAULT_QUANTILE: f64 = 0.99;

    /// The least quantile: the median.
    pub const LEAST_QUANTILE: f64 = 0.5;

    /// The greatest quantile: 0.995, above which what is kept of a quiet route is two calls.
    pub const MOST_QUANTILE: f64 = 0.995;

    /// The share of permits unless set: half, so that one thing that stalls leaves as much to all
    /// others as it takes.
    pub const DEFAULT_PERMIT_SHARE: f64 = 0.5;

    /// Bounds a timeout from `floor` to `ceiling`, neither of which has a default.
    ///
    /// The floor should be at least what 99 % of the calls take on a healthy day. The ceiling is
    /// what callers bear.
    ///
    /// # Errors
    ///
    /// [`InvalidTimeout`] unless both are from [`SHORTEST`](Self::SHORTEST) to
    /// [`LONGEST`](Self::LONGEST), and the floor is not over the ceiling.
    pub fn new(floor: Duration, ceiling: Duration) -> Result<Self, InvalidTimeout> {
        for (name, value) in [("floor", floor), ("ceiling", ceiling)] {
            if !(Self::SHORTEST..=Self::LONGEST).contains(&value) {
                return Err(Refusal::Bound { name, value }.into());
            }
        }
        if floor > ceiling {
            return Err(Refusal::Swapped { floor, ceiling }.into());
        }
        Ok(Self {
            // At most a minute, so they fit.
            floor_ns: floor.as_nanos() as u64,
            ceiling_ns: ceiling.as_nanos() as u64,
            factor: Self::DEFAULT_FACTOR,
            quantile: Self::DEFAULT_QUANTILE,
            permit_share: Self::DEFAULT_PERMIT_SHARE,
        })
    }

    /// Sets by how much the timeout is above the quantile.
    ///
    /// # Errors
    ///
    /// [`InvalidTimeout`] unless it is from [`LEAST_FACTOR`](Self::LEAST_FACTOR) to
    /// [`MOST_FACTOR`](Self::MOST_FACTOR).
    pub fn with_factor(mut self, factor: f64) -> Result<Self, InvalidTimeout> {
        if !(Self::LEAST_FACTOR..=Self::MOST_FACTOR).contains(&factor) {
            return Err(Refusal::Factor(factor).into());
        }
        self.factor = factor;
        Ok(self)
    }

    /// Sets which quantile the timeout follows.
    ///
    /// # Errors
    ///
    /// [`InvalidTimeout`] unless it is from [`LEAST_QUANTILE`](Self::LEAST_QUANTILE) to
    /// [`MOST_QUANTILE`](Self::MOST_QUANTILE).
    pub fn with_quantile(mut self, quantile: f64) -> Result<Self, InvalidTimeout> {
        if !(Self::LEAST_QUANTILE..=Self::MOST_QUANTILE).contains(&quantile) {
            return Err(Refusal::Quantile(quantile).into());
        }
        self.quantile = quantile;
        Ok(self)
    }

    /// Sets which part of the permits these calls may hold when all of them hang.
    ///
    /// # Errors
    ///
    /// [`InvalidTimeout`] unless it is over 0 and up to 1.
    pub fn with_permit_share(mut self, share: f64) -> Result<Self, InvalidTimeout> {
        if !(share > 0.0 && share <= 1.0) {
            return Err(Refusal::PermitShare(share).into());
        }
        self.permit_share = share;
        Ok(self)
    }

    /// Returns the least timeout.
    #[must_use]
    pub fn floor(&self) -> Duration {
        Duration::from_nanos(self.floor_ns)
    }

    /// Returns the greatest timeout.
    #[must_use]
    pub fn ceiling(&self) -> Duration {
        Duration::from_nanos(self.ceiling_ns)
    }
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused_with_their_bound() {
        let millis = Duration::from_millis;
        let config = TimeoutConfig::new(millis(100), millis(1_000)).unwrap();
        let check = |made: Result<TimeoutConfig, InvalidTimeout>, part: &str| {
            let message = made.unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };

        check(
            TimeoutConfig::new(millis(0), millis(1)),
            "floor 0ns is not from 1ms to 60s",
        );
        check(
            TimeoutConfig::new(millis(1), millis(60_001)),
            "ceiling 60.001s is not",
        );
        check(
            TimeoutConfig::new(millis(2), millis(1)),
            "floor 2ms is over the ceiling 1ms",
        );
        check(config.with_factor(1.4), "1.4 is not from 1.5 to 10");
        check(config.with_factor(f64::NAN), "NaN is not from 1.5 to 10");
        check(
            config.with_quantile(0.999),
            "0.999 is not from 0.5 to 0.995",
        );
        check(config.with_permit_share(0.0), "0 is not over 0");
        check(
            config.with_permit_share(1.1),
            "1.1 is not over 0 and up to 1",
        );
        assert!(config.with_permit_share(1.0).is_ok());
        assert!(TimeoutConfig::new(millis(5), millis(5)).is_ok());
    }
}
