//! Numbers of a policy, each with the range in which it makes sense.

use std::fmt;
use std::time::Duration;

use crate::decide::budget::RetryRule;

/// A value that is either written down or found out while running, between bounds.
///
/// There is no third form: what is neither explicit nor to be learned is missing, and the linter
/// says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Setting<T> {
    /// This value, until somebody changes it.
    Fixed(T),
    /// What is measured, but never outside these bounds.
    Learn {
        /// Never less, however good it looks.
        floor: T,
        /// Never more, however bad it gets.
        ceiling: T,
    },
}

/// Requests a second, over 0 and up to a million.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(f64);

/// A part of a whole, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(f64);

/// A length of time that somebody waits, from 1 ms to 1 h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeout(Duration);

/// A number of things, from 1 to a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count(u32);

/// The most attempts of a call, the first included, from 1 to 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempts(u8);

/// Refuses a number that is outside the range in which it makes sense.
///
/// The message names the bound and its reason. Trying again with the same number fails again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given} is not {range}: {reason}")]
pub struct OutOfRange {
    given: String,
    range: &'static str,
    reason: &'static str,
}

// === impl OutOfRange ===

impl OutOfRange {
    pub(super) fn new(given: String, range: &'static str, reason: &'static str) -> Self {
        Self {
            given,
            range,
            reason,
        }
    }
}

// === impl Setting ===

impl<T: Copy> Setting<T> {
    /// Returns the least value it can take.
    pub fn least(&self) -> T {
        match *self {
            Self::Fixed(value) => value,
            Self::Learn { floor, .. } => floor,
        }
    }

    /// Returns the greatest value it can take.
    pub fn most(&self) -> T {
        match *self {
            Self::Fixed(value) => value,
            Self::Learn { ceiling, .. } => ceiling,
        }
    }

    /// Says whether the value is found out while running.
    pub fn is_learned(&self) -> bool {
        matches!(self, Self::Learn { .. })
    }
}

// === impl Rate ===

impl Rate {
    /// Makes a rate.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] unless it is over 0 and at most a million: what never comes needs no policy,
    /// and no single process serves more.
    pub fn per_second(rate: f64) -> Result<Self, OutOfRange> {
        if rate > 0.0 && rate <= 1e6 {
            Ok(Self(rate))
        } else {
            Err(OutOfRange {
                given: format!("{rate}/s"),
                range: "over 0 and at most 1000000/s",
                reason: "what never comes needs no policy, and no single process serves more",
            })
        }
    }

    /// Returns the requests a second.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

// === impl Share ===

impl Share {
    /// Makes a share.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] unless it is from 0 to 1: a part is not more than the whole. A common mistake
    /// is `10` for 10 %.
    pub fn new(share: f64) -> Result<Self, OutOfRange> {
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(OutOfRange {
                given: share.to_string(),
                range: "from 0 to 1",
                reason: "a part is not more than the whole; 10 % is 0.1",
            })
        }
    }

    /// Returns the share, from 0 to 1.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&percent(self.0))
    }
}

/// Writes a part of a whole as people read it, to a tenth of a percent.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", (share * 1_000.0).round() / 10.0)
}

// === impl Timeout ===

impl Timeout {
    /// Makes a timeout.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] unless it is from 1 ms to 1 h: below, timers are not that exact, and above,
    /// nobody waits on a connection for it; such work is a job.
    pub fn new(timeout: Duration) -> Result<Self, OutOfRange> {
        if (Duration::from_millis(1)..=Duration::from_secs(3600)).contains(&timeout) {
            Ok(Self(timeout))
        } else {
            Err(OutOfRange {
                given: format!("{timeout:?}"),
                range: "from 1ms to 3600s",
                reason: "timers are not more exact, and what takes longer is a job",
            })
        }
    }

    /// Makes a timeout from milliseconds that are known to be in range.
    pub(super) const fn known_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// Returns the length of time.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

// === impl Count ===

impl Count {
    /// Makes a count.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] unless it is from 1 to a million: none of a thing turns a protection off
    /// without saying so, and more do not fit into one process.
    pub fn new(count: u32) -> Result<Self, OutOfRange> {
        if (1..=1_000_000).contains(&count) {
            Ok(Self(count))
        } else {
            Err(OutOfRange {
                given: count.to_string(),
                range: "from 1 to 1000000",
                reason: "none of it turns a protection off without saying so, and more do not \
                         fit into one process",
            })
        }
    }

    /// Makes a count that is known to be in range.
    pub(super) const fn known(count: u32) -> Self {
        Self(count)
    }

    /// Returns the number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for Count {
    type Error = OutOfRange;

    fn try_from(count: i64) -> Result<Self, OutOfRange> {
        let refused = |refused: OutOfRange| OutOfRange {
            given: count.to_string(),
            ..refused
        };
        Self::new(u32::try_from(count).unwrap_or(0)).map_err(refused)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Attempts ===

impl Attempts {
    /// One attempt, so no retry.
    pub const ONE: Self = Self(1);

    /// Makes a number of attempts.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] unless it is from 1 to 10: what fails ten times in a row does not fail by
    /// chance.
    pub fn new(attempts: u8) -> Result<Self, OutOfRange> {
        if (1..=RetryRule::MAX_ATTEMPTS).contains(&attempts) {
            Ok(Self(attempts))
        } else {
            Err(OutOfRange {
                given: attempts.to_string(),
                range: "from 1 to 10",
                reason: "the first attempt counts, and what fails ten times in a row does not \
                         fail by chance",
            })
        }
    }

    /// Returns the number, the first attempt included.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<i64> for Attempts {
    type Error = OutOfRange;

    fn try_from(attempts: i64) -> Result<Self, OutOfRange> {
        let refused = |refused: OutOfRange| OutOfRange {
            given: attempts.to_string(),
            ..refused
        };
        Self::new(u8::try_from(attempts).unwrap_or(0)).map_err(refused)
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused_with_bound_and_reason() {
        let check = |refused: OutOfRange, expect: &str| {
            let message = refused.to_string();
            assert!(message.starts_with(expect), "{message}");
        };

        for rate in [0.0, -1.0, 1e6 + 1.0, f64::NAN, f64::INFINITY] {
            assert!(Rate::per_second(rate).is_err(), "{rate}");
        }
        check(
            Rate::per_second(0.0).unwrap_err(),
            "0/s is not over 0 and at most 1000000/s: ",
        );
        check(
            Share::new(10.0).unwrap_err(),
            "10 is not from 0 to 1: a part is not more than the whole; 10 % is 0.1",
        );
        assert!(Share::new(f64::NAN).is_err());
        check(
            Timeout::new(Duration::ZERO).unwrap_err(),
            "0ns is not from 1ms to 3600s: ",
        );
        assert!(Timeout::new(Duration::MAX).is_err());
        check(Count::new(0).unwrap_err(), "0 is not from 1 to 1000000: ");
        assert!(Count::new(1_000_001).is_err());
        check(Attempts::new(0).unwrap_err(), "0 is not from 1 to 10: ");
        assert!(Attempts::new(11).is_err());
    }

    #[test]
    fn a_number_of_any_size_is_named_as_it_was_given() {
        let count = |number: i64| Count::try_from(number).unwrap_err().to_string();
        let attempts = |number: i64| Attempts::try_from(number).unwrap_err().to_string();

        assert!(count(-5).starts_with("-5 is not from 1 to 1000000: "));
        assert!(count(i64::MAX).starts_with("9223372036854775807 is not from "));
        assert!(attempts(300).starts_with("300 is not from 1 to 10: "));
        assert_eq!(Count::try_from(7), Count::new(7));
        assert_eq!(Attempts::try_from(7), Attempts::new(7));
    }

    #[test]
    fn the_ends_of_each_range_belong_to_it() {
        assert!(Rate::per_second(1e6).is_ok());
        assert!(Share::new(0.0).is_ok() && Share::new(1.0).is_ok());
        for end in [Duration::from_millis(1), Duration::from_secs(3600)] {
            assert!(Timeout::new(end).is_ok());
        }
        assert!(Count::new(1).is_ok() && Count::new(1_000_000).is_ok());
        assert!(Attempts::new(1).is_ok() && Attempts::new(10).is_ok());
    }
}
