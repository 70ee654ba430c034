//! Wall time that never goes back.

use crate::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Tells wall time by a monotonic clock.
///
/// The wall clock is stepped by operators, by NTP, and by a virtual machine that was moved. What is read
/// here goes on at the pace of the monotonic clock, and follows the wall clock forward only: after a step
/// back it goes on as if nothing had happened, and is ahead of the wall clock by that step.
#[derive(Debug)]
pub(crate) struct Anchor {
    epoch_unix_ms: i64,
    /// The wall time since the epoch at the zero of the monotonic clock; only grows.
    zero_ns: AtomicI64,
    /// When the wall clock is looked at next.
    look_ns: AtomicU64,
    /// How far this is ahead of the wall clock, as of the last look.
    ahead_ns: AtomicI64,
}

impl Anchor {
    /// How often the wall clock is looked at: every 100 ms. A machine that slept is behind by at most that
    /// long, and the cost of the look is spread over thousands of ids.
    pub(crate) const LOOK_NS: u64 = 100_000_000;

    pub(crate) fn new(epoch_unix_ms: i64, monotonic_ns: u64, wall_unix_ms: i64) -> Self {
        let zero_ns = zero(epoch_unix_ms, monotonic_ns, wall_unix_ms);
        Self {
            epoch_unix_ms,
            zero_ns: AtomicI64::new(zero_ns),
            look_ns: AtomicU64::new(monotonic_ns.saturating_add(Self::LOOK_NS)),
            ahead_ns: AtomicI64::new(0),
        }
    }

    /// Gives the nanoseconds since the epoch.
    pub(crate) fn since_epoch_ns(&self, monotonic_ns: u64) -> u64 {
        let monotonic = i64::try_from(monotonic_ns).unwrap_or(i64::MAX);
        let since = self.zero_ns.load(Relaxed).saturating_add(monotonic);
        u64::try_from(since).unwrap_or(0)
    }

    /// Tells whether the caller is the one that should look at the wall clock now and
    /// [note](Self::note) what it shows.
    pub(crate) fn looks(&self, monotonic_ns: u64) -> bool {
        let due = self.look_ns.load(Relaxed);
        let next = monotonic_ns.saturating_add(Self::LOOK_NS);
        monotonic_ns >= due
            && self
                .look_ns
                .compare_exchange(due, next, Relaxed, Relaxed)
                .is_ok()
    }

    /// Notes what the wall clock shows.
    pub(crate) fn note(&self, monotonic_ns: u64, wall_unix_ms: i64) {
        let seen = zero(self.epoch_unix_ms, monotonic_ns, wall_unix_ms);
        let known = self.zero_ns.fetch_max(seen, Relaxed);
        let ahead = known.max(seen).saturating_sub(seen);
        self.ahead_ns.store(ahead, Relaxed);
    }

    /// Tells how far this is ahead of the wall clock: what that was set back.
    pub(crate) fn ahead_ns(&self) -> u64 {
        self.ahead_ns.load(Relaxed).unsigned_abs()
    }
}

fn zero(epoch_unix_ms: i64, monotonic_ns: u64, wall_unix_ms: i64) -> i64 {
    let wall = wall_unix_ms
        .saturating_sub(epoch_unix_ms)
        .saturating_mul(1_000_000);
    wall.saturating_sub(i64::try_from(monotonic_ns).unwrap_or(i64::MAX))
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn steps_forward_are_followed_and_steps_back_are_not() {
        let anchor = Anchor::new(1_000, 50 * MS, 6_000);
        assert_eq!(anchor.since_epoch_ns(50 * MS), 5_000 * MS);
        assert_eq!(anchor.since_epoch_ns(57 * MS), 5_007 * MS);

        // Two seconds back: goes on, and knows by how much it is ahead.
        anchor.note(60 * MS, 4_010);
        assert_eq!(anchor.since_epoch_ns(60 * MS), 5_010 * MS);
        assert_eq!(anchor.ahead_ns(), 2_000 * MS);

        // An hour ahead of where it was: the machine slept.
        anchor.note(70 * MS, 6_020 + 3_600_000);
        assert_eq!(anchor.since_epoch_ns(70 * MS), 3_605_020 * MS);
        assert_eq!(anchor.ahead_ns(), 0);
    }

    #[test]
    fn one_of_many_looks_at_the_wall_clock() {
        let anchor = Anchor::new(0, 0, 0);

        assert!(!anchor.looks(Anchor::LOOK_NS - 1));
        assert!(anchor.looks(Anchor::LOOK_NS));
        assert!(!anchor.looks(Anchor::LOOK_NS));
    }

    #[test]
    fn clocks_out_of_any_range_are_survived() {
        for (epoch, wall) in [(0, i64::MAX), (0, i64::MIN), (i64::MAX, 0), (4_000_000, 0)] {
            let anchor = Anchor::new(epoch, u64::MAX, wall);
            anchor.note(0, wall);
            let _ = anchor.since_epoch_ns(u64::MAX);
        }
    }

    proptest! {
        #[test]
        fn time_never_goes_back_whatever_the_wall_clock_does(
            looks in prop::collection::vec((0..10_000_u64, -5_000_000..5_000_000_i64), 1..50),
        ) {
            let anchor = Anchor::new(0, 0, 10_000_000);
            let (mut monotonic, mut last) = (0, 0);
            for (pause_ms, step_ms) in looks {
                monotonic += pause_ms * MS;
                anchor.note(monotonic, 10_000_000 + (monotonic / MS) as i64 + step_ms);

                let now = anchor.since_epoch_ns(monotonic);

                prop_assert!(now >= last + pause_ms * MS);
                last = now;
            }
        }
    }
}
