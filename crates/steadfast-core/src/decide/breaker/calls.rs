//! What the calls of a closed breaker show: a window of counts, and failures in a row.

use super::answer::{CallEnd, TripReason, WindowCounts};
use super::config::{BreakerConfig, reaches};
use crate::decide::atomic::{AtomicU32, Ordering};
use crate::decide::sketch::Ring;

/// Counts calls from many threads.
#[derive(Debug)]
pub(super) struct Calls {
    window: Ring,
    in_a_row: AtomicU32,
}

/// The cells of the window.
mod cell {
    pub(super) const CALLS: usize = 0;
    pub(super) const FAILED: usize = 1;
    pub(super) const SLOW: usize = 2;
    pub(super) const EACH: usize = 3;
}

/// A window slides by tenths. Under a model, which tries every order of every access, it is one
/// piece: the ring has a model of its own.
const PARTS: usize = if cfg!(steadfast_loom) { 1 } else { 10 };

// === impl Calls ===

impl Calls {
    pub(super) fn new(config: &BreakerConfig) -> Self {
        Self {
            window: Ring::new(config.window_ns / PARTS as u64, PARTS, cell::EACH, 0),
            in_a_row: AtomicU32::new(0),
        }
    }

    /// Counts a call that ended, and returns the reason to trip if there is one.
    pub(super) fn count(
        &self,
        config: &BreakerConfig,
        end: CallEnd,
        now: u64,
    ) -> Option<TripReason> {
        let slow = config.is_slow(end.took);
        let slot = self.window.slot_at(now);
        self.window.add(slot, cell::CALLS);
        if slow {
            self.window.add(slot, cell::SLOW);
        }
        if !end.failed {
            self.end_row();
            // A good call never trips: if the share was reached while there were too few calls,
            // the next one that failed or was slow will.
            return slow.then(|| self.judge(config, now)).flatten();
        }
        self.window.add(slot, cell::FAILED);
        let failures = self
            .in_a_row
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        if config.consecutive.is_some_and(|most| failures >= most) {
            return Some(TripReason::Consecutive { failures });
        }
        self.judge(config, now)
    }

    /// Forgets all calls.
    pub(super) fn forget(&self, now: u64) {
        self.window.restart(now);
        self.end_row();
    }

    pub(super) fn failures_in_a_row(&self) -> u32 {
        self.in_a_row.load(Ordering::Relaxed)
    }

    pub(super) fn counts(&self, now: u64) -> WindowCounts {
        let mut counts = WindowCounts::default();
        for slot in self.window.slots(now, 0..PARTS as u64) {
            let mut cells = self.window.cells(slot);
            let mut add = |to: &mut u32| *to = to.saturating_add(cells.next().unwrap_or(0));
            add(&mut counts.calls);
            add(&mut counts.failed);
            add(&mut counts.slow);
        }
        counts
    }

    #[cold]
    fn judge(&self, config: &BreakerConfig, now: u64) -> Option<TripReason> {
        if config.failure_ppm.is_none() && config.slow.is_none() {
            return None;
        }
        let WindowCounts {
            calls,
            failed,
            slow,
        } = self.counts(now);
        if calls < config.min_calls {
            return None;
        }
        if config
            .failure_ppm
            .is_some_and(|ppm| reaches(failed, calls, ppm))
        {
            return Some(TripReason::FailureShare { failed, calls });
        }
        let slow_reached = config
            .slow
            .is_some_and(|rule| reaches(slow, calls, rule.ppm));
        slow_reached.then_some(TripReason::SlowShare { slow, calls })
    }

    /// Ends the row of failures. It is written only if there is one, so that threads whose calls
    /// succeed do not take the cache line from each other.
    fn end_row(&self) {
        if self.in_a_row.load(Ordering::Relaxed) != 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
    }
}
