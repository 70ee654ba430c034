//! Whether a scanner may take others for dead.
//!
//! When the store stalls for a minute, no beat of anybody gets through. The first scanner that
//! comes back then sees a dead fleet, rescues every job of it, and all of them run twice. A brake
//! that counts how many nodes look dead (so many cannot be true) is worse: it stops the rescue in
//! the one hour in which two of three nodes *are* dead.
//!
//! So a scanner brakes only on its own experience: if one of its *own* beats in the last lease
//! failed, or took longer than the margin, the same may have happened to the others, and it waits
//! one lease, in which whoever lives can beat.

use std::time::Duration;

/// Judges a scanner by its own beats.
#[derive(Debug, Clone)]
pub struct Brake {
    lease_ns: u64,
    margin_ns: u64,
    /// Until when it must not rescue.
    until: u64,
}

impl Brake {
    /// Makes a brake for beats whose lease is `lease`; a beat that takes longer than `margin` is
    /// as bad as one that failed.
    pub fn new(lease: Duration, margin: Duration) -> Self {
        let nanos = |length: Duration| u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        Self {
            lease_ns: nanos(lease),
            margin_ns: nanos(margin),
            until: 0,
        }
    }

    /// Notes a beat that ended at `now`, `took_ns` after it was begun.
    pub fn beat(&mut self, now: u64, took_ns: u64, renewed: bool) {
        if !renewed || took_ns > self.margin_ns {
            self.until = self.until.max(now.saturating_add(self.lease_ns));
        }
    }

    /// Tells whether it may rescue.
    pub fn may_rescue(&self, now: u64) -> bool {
        now >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn brake() -> Brake {
        Brake::new(Duration::from_secs(30), Duration::from_secs(5))
    }

    #[test]
    fn a_scanner_whose_beats_are_well_rescues_at_once_however_many_are_dead() {
        let mut brake = brake();
        for second in 0..100 {
            brake.beat(second * 10 * SECOND, SECOND / 100, true);
            assert!(brake.may_rescue(second * 10 * SECOND));
        }
    }

    #[test]
    fn after_a_beat_that_failed_it_waits_one_lease() {
        let mut brake = brake();

        brake.beat(100 * SECOND, 0, false);

        assert!(!brake.may_rescue(130 * SECOND - 1));
        assert!(brake.may_rescue(130 * SECOND));
    }

    #[test]
    fn a_beat_that_took_longer_than_the_margin_is_as_bad() {
        let mut brake = brake();

        brake.beat(100 * SECOND, 5 * SECOND, true);
        assert!(brake.may_rescue(100 * SECOND));

        brake.beat(100 * SECOND, 5 * SECOND + 1, true);
        assert!(!brake.may_rescue(129 * SECOND));
    }

    #[test]
    fn a_good_beat_does_not_shorten_the_wait() {
        let mut brake = brake();
        brake.beat(100 * SECOND, 0, false);

        brake.beat(110 * SECOND, 0, true);

        assert!(!brake.may_rescue(129 * SECOND));
    }
}
