//! The word of an operator, which ends by itself.

use std::time::Duration;

use super::answer::Override;
use super::word::{LAST_TICK, instant_of, tick_after, tick_of};

/// Refuses an override whose time is out of range.
///
/// The message names the bound. Trying again with the same time fails again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "override of {given:?} is not over 0 and up to {most:?}",
    most = super::Breaker::LONGEST_OVERRIDE
)]
pub struct InvalidOverride {
    given: Duration,
}

/// An override and its end, packed into one word; no override is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forced {
    pub(super) over: Override,
    until: u64,
}

// === impl Forced ===

impl Forced {
    pub(super) const NONE: u64 = 0;

    /// Begins at `now`.
    pub(super) fn new(over: Override, lasts: Duration, now: u64) -> Result<Self, InvalidOverride> {
        if lasts.is_zero() || lasts > super::Breaker::LONGEST_OVERRIDE {
            return Err(InvalidOverride { given: lasts });
        }
        // At most a day, so it fits.
        let until = tick_after(now, lasts.as_nanos() as u64);
        Ok(Self { over, until })
    }

    pub(super) fn pack(self) -> u64 {
        let over = match self.over {
            Override::Open => 1,
            Override::Closed => 2,
            Override::Disabled => 3,
        };
        over | self.until << 2
    }

    /// Gives the override that is in force at `now`, if one is.
    pub(super) fn at(word: u64, now: u64) -> Option<Self> {
        let over = match word & 3 {
            0 => return None,
            1 => Override::Open,
            2 => Override::Closed,
            _ => Override::Disabled,
        };
        let until = word >> 2 & LAST_TICK;
        (tick_of(now) < until).then_some(Self { over, until })
    }

    /// Returns how much longer it is in force.
    pub(super) fn left(self, now: u64) -> Duration {
        Duration::from_nanos(instant_of(self.until).saturating_sub(now))
    }

    /// Says whether calls pass whatever the breaker thinks.
    pub(super) fn lets_pass(self) -> bool {
        matches!(self.over, Override::Closed | Override::Disabled)
    }
}
