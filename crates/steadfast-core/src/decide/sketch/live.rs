//! The sketch that many threads record into.

use std::ops::Range;
use std::time::Duration;

use super::histogram::Histogram;
use super::ring::Ring;
use super::scale::{CELLS, cell_of};

/// Records values from many threads, and tells how the last windows were distributed.
///
/// A record is wait-free: two relaxed additions, and a third operation when the value is a new
/// maximum. The one record that finds a new window empties another, which takes about a
/// microsecond; all others go on meanwhile.
///
/// Values are nanoseconds. A quantile is never below the true one; it is above by at most
/// [`RELATIVE_ERROR`](Self::RELATIVE_ERROR) from [`SHORTEST_NS`](Self::SHORTEST_NS) to
/// [`LONGEST_NS`](Self::LONGEST_NS), by less than 64 ns below that, and longer values count as the
/// longest. Sums and maxima are exact.
///
/// Memory is fixed when it is made: 3.5 KiB a window, and two windows more than are read; see
/// [`memory_bytes`](Self::memory_bytes).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use steadfast_core::decide::sketch::Sketch;
///
/// const SECOND: u64 = 1_000_000_000;
/// const MS: u64 = 1_000_000;
/// let sketch = Sketch::new(Duration::from_secs(1), 10)?;
/// sketch.record(10 * MS, 0);
/// sketch.record(30 * MS, 3 * SECOND);
///
/// assert_eq!(sketch.last(10, 3 * SECOND).count(), 2);
/// assert_eq!(sketch.last(3, 3 * SECOND).max_ns(), 30 * MS);
/// assert_eq!(sketch.last(10, 60 * SECOND).count(), 0, "long ago");
/// # Ok::<(), steadfast_core::decide::sketch::InvalidSketch>(())
/// ```
#[derive(Debug)]
pub struct Sketch {
    ring: Ring,
    windows: u32,
}

/// Refuses a [`Sketch`] whose numbers are out of range.
///
/// The message names the bound. Trying again with the same numbers fails again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidSketch(#[from] Refusal);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error(
        "window {0:?} is not from {least:?} to {most:?}",
        least = Sketch::SHORTEST_WINDOW,
        most = Sketch::LONGEST_WINDOW
    )]
    Window(Duration),
    #[error("{0} windows are not from 1 to {most}", most = Sketch::MAX_WINDOWS)]
    Windows(u32),
}

/// The words of a window in the ring.
const SUM: usize = 0;
const MAX: usize = 1;

// === impl Sketch ===

impl Sketch {
    /// The greatest part by which a quantile is above the true one: 1/32, about 3 %.
    ///
    /// Half of it would double the memory, and no decision taken from a latency of the past is more
    /// exact than this.
    pub const RELATIVE_ERROR: f64 = 1.0 / 32.0;

    /// The shortest value with that relative error: 2,048 ns.
    pub const SHORTEST_NS: u64 = 1 << 11;

    /// The longest value that is told from longer ones: 137 s.
    pub const LONGEST_NS: u64 = (1 << 37) - 1;

    /// The number of [tallies](Self::tally).
    pub const TALLIES: usize = 5;

    /// The shortest window: 10 ms, some thousand times what its end costs.
    pub const SHORTEST_WINDOW: Duration = Duration::from_millis(10);

    /// The longest window: 1 hour; counters of 32 bits hold a million values a second that long.
    pub const LONGEST_WINDOW: Duration = Duration::from_secs(60 * 60);

    /// The most windows: 120, which are 417 KiB.
    pub const MAX_WINDOWS: u32 = 120;

    /// Makes an empty sketch that tells about the last `windows`, each as long as `window`.
    ///
    /// The window that lasts is one of them. Whoever wants a value to count for at least a time
    /// takes one window more than that time has.
    ///
    /// # Errors
    ///
    /// [`InvalidSketch`] unless the window is from [`SHORTEST_WINDOW`](Self::SHORTEST_WINDOW) to
    /// [`LONGEST_WINDOW`](Self::LONGEST_WINDOW), and there are from 1 to
    /// [`MAX_WINDOWS`](Self::MAX_WINDOWS) of them.
    pub fn new(window: Duration, windows: u32) -> Result<Self, InvalidSketch> {
        if !(Self::SHORTEST_WINDOW..=Self::LONGEST_WINDOW).contains(&window) {
            return Err(Refusal::Window(window).into());
        }
        if windows == 0 || windows > Self::MAX_WINDOWS {
            return Err(Refusal::Windows(windows).into());
        }
        // At most an hour, so it fits.
        let width_ns = window.as_nanos() as u64;
        Ok(Self {
            ring: Ring::new(width_ns, windows as usize, CELLS + Self::TALLIES, 2),
            windows,
        })
    }

    /// Records a value that was measured at `now`.
    ///
    /// `now` may come a little late or out of order, as it does from many threads: the value
    /// counts in the newest window then.
    pub fn record(&self, value_ns: u64, now: u64) {
        let slot = self.ring.slot_at(now);
        self.ring.add(slot, cell_of(value_ns));
        self.ring.add_to_word(slot, SUM, value_ns);
        self.ring.raise_word(slot, MAX, value_ns);
    }

    /// Counts something else that belongs to the same windows as the values.
    ///
    /// What the [`TALLIES`](Self::TALLIES) mean is up to the caller.
    ///
    /// # Panics
    ///
    /// If there is no such tally.
    pub fn tally(&self, tally: usize, now: u64) {
        assert!(tally < Self::TALLIES, "tally {tally} of {}", Self::TALLIES);
        self.ring.add(self.ring.slot_at(now), CELLS + tally);
    }

    /// Reads the last `windows`, of which the newest is the one of `now` and lasts.
    #[must_use]
    pub fn last(&self, windows: u32, now: u64) -> Histogram {
        let mut histogram = Histogram::new();
        self.read(0..u64::from(windows), now, &mut histogram);
        histogram
    }

    /// Reads the window before the one of `now` into a histogram that is cleared first.
    ///
    /// It has ended, so who asks once in each window sees each value once. A few values that
    /// belong to it by the clock may have come too late for it; they are in the next one.
    pub fn read_ended(&self, now: u64, into: &mut Histogram) {
        into.clear();
        self.read(1..2, now, into);
    }

    /// Returns the length of a window.
    #[must_use]
    pub fn window(&self) -> Duration {
        Duration::from_nanos(self.ring.width_ns())
    }

    /// Returns how many windows can be read.
    #[must_use]
    pub fn windows(&self) -> u32 {
        self.windows
    }

    /// Returns how much memory it takes, which never changes: 3,500 bytes a window, two windows
    /// more than are read, and what stands beside them.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.ring.heap_bytes()
    }

    fn read(&self, ages: Range<u64>, now: u64, into: &mut Histogram) {
        let ages = ages.start..ages.end.min(u64::from(self.windows));
        for slot in self.ring.slots(now, ages) {
            for (cell, count) in self.ring.cells(slot).enumerate() {
                match cell.checked_sub(CELLS) {
                    None => into.add_cell(cell, u64::from(count)),
                    Some(tally) => into.add_tally(tally, u64::from(count)),
                }
            }
            into.add_sum_and_max(self.ring.word(slot, SUM), self.ring.word(slot, MAX));
        }
    }
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn sketch(windows: u32) -> Sketch {
        Sketch::new(Duration::from_secs(1), windows).unwrap()
    }

    #[test]
    fn the_last_windows_hold_what_was_recorded_in_them() {
        let sketch = sketch(3);
        for second in 0..5 {
            sketch.record(second + 1, second * SECOND);
        }

        let check = |windows, now, expect| {
            assert_eq!(sketch.last(windows, now).sum_ns(), expect, "{windows}");
        };
        check(1, 4 * SECOND, 5);
        check(2, 4 * SECOND, 5 + 4);
        check(3, 5 * SECOND - 1, 5 + 4 + 3);
        check(9, 4 * SECOND, 5 + 4 + 3);
        check(3, 6 * SECOND, 5);
        check(3, 7 * SECOND, 0);
    }

    #[test]
    fn an_ended_window_is_read_once_in_each() {
        let sketch = sketch(2);
        let mut seen = Histogram::new();
        let mut sums = Vec::new();

        for second in 0..4 {
            sketch.record(10 + second, second * SECOND);
            sketch.tally(2, second * SECOND);
            sketch.read_ended(second * SECOND, &mut seen);
            sums.push((seen.sum_ns(), seen.tally(2), seen.tally(1)));
        }

        assert_eq!(sums, [(0, 0, 0), (10, 1, 0), (11, 1, 0), (12, 1, 0)]);
    }

    #[test]
    fn values_of_many_threads_are_all_there() {
        let sketch = sketch(100);

        std::thread::scope(|scope| {
            for thread in 0..4 {
                let sketch = &sketch;
                scope.spawn(move || {
                    for n in 0..10_000_u64 {
                        sketch.record(n, n * SECOND / 200 + thread);
                    }
                });
            }
        });

        let all = sketch.last(100, 50 * SECOND);
        assert_eq!(all.count(), 40_000);
        assert_eq!(all.sum_ns(), 4 * 9_999 * 5_000);
        assert_eq!(all.max_ns(), 9_999);
    }

    #[test]
    fn memory_is_what_the_documentation_says() {
        let beside = size_of::<Sketch>();
        let check = |windows: u32, bytes| {
            assert_eq!(sketch(windows).memory_bytes(), bytes + beside, "{windows}");
        };

        check(1, 3 * 3_500);
        check(2, 4 * 3_500);
        check(Sketch::MAX_WINDOWS, 122 * 3_500);
        assert!(beside <= 128, "{beside}");
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_their_bound() {
        let check = |window, windows, part: &str| {
            let message = Sketch::new(window, windows).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };

        check(Duration::from_millis(9), 1, "from 10ms to 3600s");
        check(Duration::MAX, 1, "from 10ms to 3600s");
        check(Duration::from_secs(1), 0, "from 1 to 120");
        check(Duration::from_secs(1), 121, "from 1 to 120");
    }

    proptest! {
        #[test]
        fn a_reading_is_the_histogram_of_the_same_values(
            values in prop::collection::vec((any::<u64>(), 0..SECOND), 0..100),
            windows in 1..4_u32,
        ) {
            let sketch = sketch(windows);
            let mut all = Vec::new();
            let mut now = 0;
            for (value, step) in values {
                now += step;
                // Sums wrap only after centuries.
                let value = value >> 20;
                sketch.record(value, now);
                all.push((value, now / SECOND));
            }

            let mut expect = Histogram::new();
            for (value, at) in all {
                if now / SECOND - at < u64::from(windows) {
                    expect.record(value);
                }
            }
            prop_assert_eq!(sketch.last(windows, now), expect);
        }
    }
}
