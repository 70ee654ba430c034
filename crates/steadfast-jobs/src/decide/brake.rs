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
    /// Until when it must not rescue.
    until: u64,
}

impl Brake {
    /// Makes a brake for beats whose lease is `lease`.
    pub fn new(lease: Duration) -> Self {
        Self {
            lease_ns: u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX),
            until: 0,
        }
    }

    /// Notes a beat that had failed at `at`, or had taken too long by then.
    pub fn bad_beat(&mut self, at: u64) {
        self.until = self.until.max(at.saturating_add(self.lease_ns));
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

    #[test]
    fn a_scanner_whose_beats_are_well_rescues_at_once_however_many_are_dead() {
        assert!(Brake::new(Duration::from_secs(30)).may_rescue(0));
    }

    #[test]
    fn after_a_bad_beat_it_waits_one_lease() {
        let mut brake = Brake::new(Duration::from_secs(30));

        brake.bad_beat(100 * SECOND);
        // Told once more, of one before.
        brake.bad_beat(90 * SECOND);

        assert!(!brake.may_rescue(130 * SECOND - 1));
        assert!(brake.may_rescue(130 * SECOND));
    }
}
