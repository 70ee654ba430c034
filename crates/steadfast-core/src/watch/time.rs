//! The time of the watch: the watchdog's last tick.
//!
//! Reading a clock at every lock and every poll would cost as much as the lock. So the watchdog
//! publishes the time of each tick, and whoever notes a time while it runs reads that: one load.
//! Times are exact to one tick then. While no watchdog runs, locks read the clock itself.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock;

/// The time of the last tick, or zero while no watchdog runs. Only ever read as a time: nothing
/// else is ordered by it, so relaxed loads and stores serve.
static TICK: AtomicU64 = AtomicU64::new(0);

/// Gives the time of the last tick; `None` while no watchdog runs.
#[inline]
pub(super) fn tick() -> Option<u64> {
    match TICK.load(Ordering::Relaxed) {
        0 => None,
        now => Some(now),
    }
}

/// Gives the time by which waits and holds are measured.
#[inline]
pub(super) fn now() -> u64 {
    tick().unwrap_or_else(clock::real_nanos)
}

/// Publishes the time of a tick; `None` when the watchdog stops.
pub(super) fn publish(tick: Option<u64>) {
    TICK.store(tick.unwrap_or(0), Ordering::Relaxed);
}
