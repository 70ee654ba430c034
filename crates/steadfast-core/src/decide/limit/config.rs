//! What a limit may be told, and what it refuses.

use std::time::Duration;

/// Says how a [`Limit`](super::Limit) behaves.
///
/// Start from [`bare`](Self::bare) or [`queued`](Self::queued) and change what you know better.
///
/// # Examples
///
/// ```
/// use steadfast_core::decide::limit::{Limit, LimitConfig};
///
/// let config = LimitConfig { initial: 40, ..LimitConfig::queued() };
/// assert_eq!(Limit::new(config)?.current(), 40);
/// # Ok::<(), steadfast_core::decide::limit::InvalidLimit>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimitConfig {
    /// The limit before anything is known, and the one that it returns to while nothing presses.
    ///
    /// Default 100: bursts of a service that serves ten at a time fit, and when an overload comes
    /// it takes about five windows from there to a limit ten times lower. Higher for services that
    /// hold thousands.
    pub initial: u32,

    /// The lowest limit. Default 2: with one alone, a single stuck request would stop everything.
    pub min: u32,

    /// The highest limit. Default 10,000: where a request holds 100 KiB, that is a gigabyte.
    pub max: u32,

    /// How many times the baseline the mean time may be. From 1.05 to 10; the default depends on
    /// where the limit stands, see [`bare`](Self::bare) and [`queued`](Self::queued).
    pub tolerance: f64,

    /// The shortest time between two steps. Default 250 ms: at 1,000 requests a second enough for a
    /// mean that is right within 13 % (two standard errors), and five steps still fit into two
    /// seconds.
    pub window: Duration,

    /// How many samples a step needs; a window without them goes on. Default 100: their mean is right
    /// within 20 %, and the covariance stop still recognizes a fall to a quarter.
    pub samples_min: u32,

    /// How long the limit may be pressed against before the baseline is checked, at least ten
    /// windows. Default 60 s: the check takes about five windows in which a quarter to a half of the
    /// throughput is missing, so it costs one percent. Where requests are so rare that windows
    /// last longer than a quarter of a second, so does this, in proportion.
    pub recheck: Duration,
}

/// Refuses a [`LimitConfig`] with a number out of range.
///
/// The message names the bound. Trying again with the same numbers fails again.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidLimit(#[from] Refusal);

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
enum Refusal {
    #[error("min is 0, it must be at least 1")]
    ZeroMin,
    #[error("initial {initial} is outside of min {min} to max {max}")]
    Order { min: u32, initial: u32, max: u32 },
    #[error("max {0} is over the bound of {bound}", bound = LimitConfig::MAX)]
    Max(u32),
    #[error("tolerance {0} is outside of 1.05 to 10")]
    Tolerance(f64),
    #[error("window {0:?} is outside of 1 ms to 60 s")]
    Window(Duration),
    #[error("samples_min {0} is outside of 16 to {bound}", bound = LimitConfig::MAX_SAMPLES)]
    Samples(u32),
    #[error("recheck {recheck:?} is shorter than ten windows of {window:?}")]
    Recheck { recheck: Duration, window: Duration },
}

// === impl LimitConfig ===

impl LimitConfig {
    /// The highest limit that may be asked for: one million.
    pub const MAX: u32 = 1_000_000;

    /// The most samples of a window: 65,536. Their mean is right within 1 %, more add nothing; the
    /// window then ends early.
    pub const MAX_SAMPLES: u32 = 1 << 16;

    /// The configuration of a limit that rejects what exceeds it: a tolerance of 2.
    #[must_use]
    pub const fn bare() -> Self {
        Self {
            initial: 100,
            min: 2,
            max: 10_000,
            tolerance: 2.0,
            window: Duration::from_millis(250),
            samples_min: 100,
            recheck: Duration::from_secs(60),
        }
    }

    /// The configuration of a limit behind an admission queue: a tolerance of 1.2.
    #[must_use]
    pub const fn queued() -> Self {
        Self {
            tolerance: 1.2,
            ..Self::bare()
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidLimit> {
        let Self {
            initial, min, max, ..
        } = *self;
        if min == 0 {
            return Err(Refusal::ZeroMin.into());
        }
        if initial < min || initial > max {
            return Err(Refusal::Order { min, initial, max }.into());
        }
        if max > Self::MAX {
            return Err(Refusal::Max(max).into());
        }
        // Written so that a NaN is refused too.
        if !(1.05..=10.0).contains(&self.tolerance) {
            return Err(Refusal::Tolerance(self.tolerance).into());
        }
        if self.window < Duration::from_millis(1) || self.window > Duration::from_secs(60) {
            return Err(Refusal::Window(self.window).into());
        }
        if !(16..=Self::MAX_SAMPLES).contains(&self.samples_min) {
            return Err(Refusal::Samples(self.samples_min).into());
        }
        if self.recheck < 10 * self.window {
            return Err(Refusal::Recheck {
                recheck: self.recheck,
                window: self.window,
            }
            .into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused_with_their_bound() {
        let ok = LimitConfig::bare();
        let cases = [
            (
                LimitConfig { min: 0, ..ok },
                "min is 0, it must be at least 1",
            ),
            (
                LimitConfig { min: 101, ..ok },
                "initial 100 is outside of min 101 to max 10000",
            ),
            (
                LimitConfig { max: 99, ..ok },
                "initial 100 is outside of min 2 to max 99",
            ),
            (
                LimitConfig {
                    max: 1_000_001,
                    ..ok
                },
                "max 1000001 is over the bound of 1000000",
            ),
            (
                LimitConfig {
                    tolerance: 1.0,
                    ..ok
                },
                "tolerance 1 is outside of 1.05 to 10",
            ),
            (
                LimitConfig {
                    tolerance: f64::NAN,
                    ..ok
                },
                "tolerance NaN is outside of 1.05 to 10",
            ),
            (
                LimitConfig {
                    window: Duration::ZERO,
                    ..ok
                },
                "window 0ns is outside of 1 ms to 60 s",
            ),
            (
                LimitConfig {
                    samples_min: 15,
                    ..ok
                },
                "samples_min 15 is outside of 16 to 65536",
            ),
            (
                LimitConfig {
                    recheck: Duration::from_secs(2),
                    ..ok
                },
                "recheck 2s is shorter than ten windows of 250ms",
            ),
        ];

        for (config, message) in cases {
            assert_eq!(config.check().unwrap_err().to_string(), message);
        }
        assert_eq!(ok.check(), Ok(()));
        assert_eq!(LimitConfig::queued().check(), Ok(()));
    }
}
