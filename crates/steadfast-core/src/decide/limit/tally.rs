//! The sums that a limit steps from, taken from many threads at once.

use super::LimitConfig;
use crate::decide::atomic::{AtomicU32, AtomicU64, Ordering};

/// The sums over some samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many requests ended and say something about the time of one.
    pub samples: u32,
    /// The sum of their times, in nanoseconds.
    pub rtt_ns: u64,
    /// How many ended because something below had too much: a time-out, a rejection.
    pub dropped: u32,
    /// The most that were in flight when one ended, itself included.
    pub peak: u32,
}

/// Collects samples from many threads without a lock.
///
/// A sample is one atomic addition and, when it sees a new peak, a second one. Count and sum are
/// one word, so that a mean never has the sum of other samples than it has the count of.
///
/// # Examples
///
/// ```
/// use steadfast_core::decide::limit::Tally;
///
/// let tally = Tally::new();
/// tally.record(5_000_000, 3, false);
/// tally.record(7_000_000, 4, true);
///
/// let totals = tally.take();
/// assert_eq!((totals.samples, totals.dropped, totals.peak), (1, 1, 4));
/// assert_eq!(tally.take(), Default::default(), "taken once");
/// ```
#[derive(Debug)]
pub struct Tally {
    /// The number of samples below, the sum of their times in [`UNIT_NS`] above.
    times: AtomicU64,
    dropped: AtomicU32,
    peak: AtomicU32,
}

/// The unit of the sum: fine enough for handlers of microseconds, since the error of rounding
/// averages out, and coarse enough that [`LimitConfig::MAX_SAMPLES`] of [`LONGEST_NS`] fit.
const UNIT_NS: u64 = 1 << SCALE;
const SCALE: u32 = 8;

/// Longer times count as this long, 69 s: beyond any request that a limit should learn from.
const LONGEST_NS: u64 = 1 << 36;

/// Room for twice the samples of a window and a thread each that is between load and addition.
const COUNT_BITS: u32 = 18;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

// === impl Tally ===

impl Tally {
    /// Makes an empty one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            times: AtomicU64::new(0),
            dropped: AtomicU32::new(0),
            peak: AtomicU32::new(0),
        }
    }

    /// Adds a request that took `rtt_ns` from admission to its end, with `in_flight` at the end,
    /// itself included; `dropped` if something below had too much. Returns how many samples there
    /// are now, for the caller to see that it is time to [`take`](Self::take) them.
    ///
    /// Leave out requests that tell nothing about load: those that failed at once, that the client
    /// gave up, streams. Beyond [`LimitConfig::MAX_SAMPLES`] samples nothing is added.
    pub fn record(&self, rtt_ns: u64, in_flight: u32, dropped: bool) -> u32 {
        // Relaxed throughout: the words are statistics, and nothing else is read in the belief that
        // it was written before them.
        if self.peak.load(Ordering::Relaxed) < in_flight {
            self.peak.fetch_max(in_flight, Ordering::Relaxed);
        }
        let held = self.times.load(Ordering::Relaxed) & COUNT;
        if dropped {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return held as u32;
        }
        if held >= u64::from(LimitConfig::MAX_SAMPLES) {
            return held as u32;
        }
        let units = (rtt_ns.min(LONGEST_NS) + UNIT_NS / 2) >> SCALE;
        let before = self
            .times
            .fetch_add(units << COUNT_BITS | 1, Ordering::Relaxed);
        (before & COUNT) as u32 + 1
    }

    /// Takes what was collected; each sample is taken once.
    ///
    /// A sample that arrives meanwhile may leave its peak here and its time in the next one.
    pub fn take(&self) -> Totals {
        let times = self.times.swap(0, Ordering::Relaxed);
        Totals {
            samples: (times & COUNT) as u32,
            rtt_ns: (times >> COUNT_BITS) << SCALE,
            dropped: self.dropped.swap(0, Ordering::Relaxed),
            peak: self.peak.swap(0, Ordering::Relaxed),
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Totals ===

impl Totals {
    /// The sums of one request, for callers with one thread.
    #[must_use]
    pub fn of(rtt_ns: u64, in_flight: u32, dropped: bool) -> Self {
        Self {
            samples: u32::from(!dropped),
            rtt_ns: if dropped { 0 } else { rtt_ns.min(LONGEST_NS) },
            dropped: u32::from(dropped),
            peak: in_flight,
        }
    }

    /// Adds the sums of further samples.
    pub fn add(&mut self, more: Totals) {
        self.samples = self.samples.saturating_add(more.samples);
        self.rtt_ns = self.rtt_ns.saturating_add(more.rtt_ns);
        self.dropped = self.dropped.saturating_add(more.dropped);
        self.peak = self.peak.max(more.peak);
    }
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_window_of_the_longest_requests_fits() {
        let tally = Tally::new();

        for _ in 0..LimitConfig::MAX_SAMPLES + 10 {
            tally.record(u64::MAX, u32::MAX, false);
        }

        let totals = tally.take();
        assert_eq!(totals.samples, LimitConfig::MAX_SAMPLES);
        assert_eq!(
            totals.rtt_ns,
            u64::from(LimitConfig::MAX_SAMPLES) * LONGEST_NS
        );
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_samples_within_rounding(
            samples in prop::collection::vec((0u64..1_000_000_000, 1u32..1_000, any::<bool>()), 1..50),
        ) {
            let tally = Tally::new();
            let mut expected = Totals::default();
            for &(rtt, in_flight, dropped) in &samples {
                tally.record(rtt, in_flight, dropped);
                expected.add(Totals::of(rtt, in_flight, dropped));
            }

            let totals = tally.take();

            prop_assert!(totals.rtt_ns.abs_diff(expected.rtt_ns) <= UNIT_NS * samples.len() as u64);
            prop_assert_eq!(Totals { rtt_ns: expected.rtt_ns, ..totals }, expected);
        }
    }
}
