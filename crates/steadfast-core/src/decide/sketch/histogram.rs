//! What a reading of a sketch gives: plain numbers of one owner.

use super::Sketch;
use super::scale::{CELLS, cell_of, upper_of};

/// Holds how often which values occurred, and answers questions about them.
///
/// A reading of a [`Sketch`], with the same cells and the same error. Histograms of windows, of
/// threads or of processes are [merged](Self::merge) without further error.
///
/// # Examples
///
/// ```
/// use steadfast_core::decide::sketch::Histogram;
///
/// let mut histogram = Histogram::new();
/// for ms in 1..=100 {
///     histogram.record(ms * 1_000_000);
/// }
///
/// let p99 = histogram.quantile(0.99).unwrap();
/// assert!((99_000_000..=102_100_000).contains(&p99), "at most 1/32 too high");
/// assert_eq!(histogram.max_ns(), 100_000_000);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    count: u64,
    sum_ns: u64,
    max_ns: u64,
    tallies: [u64; Sketch::TALLIES],
    pub(super) cells: Box<[u64]>,
}

// === impl Histogram ===

impl Histogram {
    /// Makes an empty one, of about seven kilobytes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            count: 0,
            sum_ns: 0,
            max_ns: 0,
            tallies: [0; Sketch::TALLIES],
            cells: vec![0; CELLS].into(),
        }
    }

    /// Counts one value, in nanoseconds.
    pub fn record(&mut self, value_ns: u64) {
        self.add_cell(cell_of(value_ns), 1);
        self.add_sum_and_max(value_ns, value_ns);
    }

    /// Adds all that another one holds.
    pub fn merge(&mut self, other: &Self) {
        for (cell, more) in other.cells.iter().enumerate() {
            self.add_cell(cell, *more);
        }
        self.add_sum_and_max(other.sum_ns, other.max_ns);
        for (tally, more) in other.tallies.iter().enumerate() {
            self.add_tally(tally, *more);
        }
    }

    /// Forgets all, and keeps the memory.
    pub fn clear(&mut self) {
        self.cells.fill(0);
        self.tallies.fill(0);
        (self.count, self.sum_ns, self.max_ns) = (0, 0, 0);
    }

    /// Returns the value below or at which the part `q` of all values lies, or `None` if there are
    /// none. `q` is from 0 to 1, and taken as the nearer of the two outside.
    ///
    /// The answer is never below the true one, and at most
    /// [`RELATIVE_ERROR`](Sketch::RELATIVE_ERROR) above it (see [`Sketch`] for very short and very
    /// long values). With `n` values, quantiles above `1 - 1 / n` are the largest value.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).clamp(1, self.count);
        let mut below = 0;
        let cell = self.cells.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(upper_of(cell).min(self.max_ns))
    }

    /// Returns the number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the sum of all values, in nanoseconds: exact, up to 584 years.
    #[must_use]
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// Returns the greatest value, exactly, or 0 if there are none.
    #[must_use]
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// Returns how many values are at least this large, where values of one cell with it count as
    /// that.
    #[must_use]
    pub fn count_from(&self, value_ns: u64) -> u64 {
        self.cells[cell_of(value_ns)..].iter().sum()
    }

    /// Returns the mean of all values, or `None` if there are none.
    #[must_use]
    pub fn mean_ns(&self) -> Option<u64> {
        self.sum_ns.checked_div(self.count)
    }

    /// Returns how often a [tally](Sketch::tally) was counted; 0 for one that does not exist.
    #[must_use]
    pub fn tally(&self, tally: usize) -> u64 {
        self.tallies.get(tally).copied().unwrap_or(0)
    }

    pub(super) fn add_cell(&mut self, cell: usize, more: u64) {
        self.cells[cell] += more;
        self.count += more;
    }

    pub(super) fn add_sum_and_max(&mut self, sum_ns: u64, max_ns: u64) {
        self.sum_ns = self.sum_ns.saturating_add(sum_ns);
        self.max_ns = self.max_ns.max(max_ns);
    }

    pub(super) fn add_tally(&mut self, tally: usize, more: u64) {
        self.tallies[tally] += more;
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn histogram(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        for value in values {
            histogram.record(*value);
        }
        histogram
    }

    #[test]
    fn an_empty_one_has_no_quantile_and_no_mean() {
        let empty = Histogram::new();

        assert_eq!((empty.quantile(0.5), empty.mean_ns()), (None, None));
        assert_eq!((empty.count(), empty.sum_ns(), empty.max_ns()), (0, 0, 0));
    }

    #[test]
    fn values_beyond_the_range_keep_their_maximum() {
        let histogram = histogram(&[1_000, u64::MAX]);

        assert_eq!(histogram.quantile(1.0), Some(Sketch::LONGEST_NS));
        assert_eq!(histogram.max_ns(), u64::MAX);
    }

    #[test]
    fn quantiles_outside_of_the_range_are_the_nearest_inside() {
        let histogram = histogram(&[5_000_000, 7_000_000]);

        assert_eq!(histogram.quantile(-1.0), histogram.quantile(0.0));
        assert_eq!(histogram.quantile(2.0), Some(7_000_000));
        assert_eq!(histogram.quantile(f64::NAN), histogram.quantile(0.0));
    }

    #[test]
    fn a_cleared_one_is_as_new() {
        let mut histogram = histogram(&[1, 2, 3]);
        histogram.clear();

        assert_eq!(histogram, Histogram::new());
    }

    fn any_values() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec((0..40_u32, any::<u64>()), 1..300).prop_map(|draws| {
            draws
                .iter()
                .map(|(bits, draw)| draw >> (63 - bits))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn a_quantile_is_that_of_the_sorted_values_or_little_more(
            values in any_values(),
            q in 0.0..=1.0_f64,
        ) {
            let answer = histogram(&values).quantile(q).unwrap();
            let mut sorted = values;
            sorted.sort_unstable();
            let rank = ((q * sorted.len() as f64).ceil() as usize).max(1);
            let exact = sorted[rank - 1].min(Sketch::LONGEST_NS);

            prop_assert!(answer >= exact);
            let allowed = (exact as f64 * Sketch::RELATIVE_ERROR).max(63.0);
            prop_assert!((answer - exact) as f64 <= allowed, "{answer} for {exact}");
        }

        #[test]
        fn parts_merged_are_the_whole(values in any_values(), at in 0.0..=1.0_f64) {
            let (left, right) = values.split_at((values.len() as f64 * at) as usize);

            let mut merged = histogram(left);
            merged.merge(&histogram(right));

            prop_assert_eq!(merged, histogram(&values));
        }
    }
}
