//! What the last while was like, in the memory of a single window.

use super::histogram::Histogram;
use super::scale::{CELLS, cell_of, upper_of};

/// Remembers a distribution, the newest values best.
///
/// Each lesson keeps nine tenths of what was known before it, so a lesson a second weighs as ten
/// seconds of values, and what was a minute ago weighs a five-hundredth. A ring of sixty windows
/// would do the same for twenty times the memory, and forget in jumps.
///
/// Of rare values it keeps more: the last [`KEPT`](Self::KEPT) or so, however long ago they were.
///
/// What should not be learned is not passed in: then nothing is forgotten, either.
///
/// # Examples
///
/// ```
/// use steadfast_core::decide::sketch::{Histogram, Memory};
///
/// let mut second = Histogram::new();
/// for _ in 0..1_000 {
///     second.record(50_000_000);
/// }
/// let mut memory = Memory::new();
/// memory.learn(&second);
///
/// assert!(memory.quantile(0.99).unwrap() >= 50_000_000);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    cells: Box<[f64]>,
    mass: f64,
}

// === impl Memory ===

impl Memory {
    /// How many values are kept at least: 500, so that a 99th percentile rests on five.
    pub const KEPT: f64 = 500.0;

    /// The part of what is known that outlasts a lesson.
    ///
    /// A tenth is forgotten: a 99th percentile follows upward when 1 % of the mass is new, within
    /// the first lesson, and downward when 99 % of it is, after 44.
    pub const KEEP: f64 = 0.9;

    /// Makes an empty one, of about seven kilobytes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            cells: vec![0.0; CELLS].into(),
            mass: 0.0,
        }
    }

    /// Learns the values of one more stretch of time.
    pub fn learn(&mut self, lesson: &Histogram) {
        self.learn_cells(&lesson.cells, lesson.count());
    }

    /// Learns those values of one more stretch of time that are smaller than a bound, by the cells
    /// in which they are counted.
    pub fn learn_below(&mut self, lesson: &Histogram, bound_ns: u64) {
        let above = lesson.count_from(bound_ns);
        self.learn_cells(&lesson.cells[..cell_of(bound_ns)], lesson.count() - above);
    }

    fn learn_cells(&mut self, cells: &[u64], count: u64) {
        let new = count as f64;
        if count == 0 {
            return;
        }
        let keep = if self.mass * Self::KEEP + new >= Self::KEPT {
            Self::KEEP
        } else {
            // Only as much is forgotten as is over what must be kept.
            ((Self::KEPT - new) / self.mass.max(1.0)).clamp(Self::KEEP, 1.0)
        };
        self.mass = 0.0;
        let learned = cells.iter().chain(std::iter::repeat(&0));
        for (cell, count) in self.cells.iter_mut().zip(learned) {
            *cell = *cell * keep + *count as f64;
            self.mass += *cell;
        }
    }

    /// Returns the value below or at which the part `q` of the values lies, as
    /// [`Histogram::quantile`] does, or `None` if nothing was learned.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        if self.mass == 0.0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * self.mass;
        let mut below = 0.0;
        let mut last = 0;
        for (cell, count) in self
            .cells
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0.0)
        {
            below += count;
            last = cell;
            if below >= rank {
                break;
            }
        }
        Some(upper_of(last))
    }

    /// Returns how many values the answers rest on, older ones counted in part.
    #[must_use]
    pub fn mass(&self) -> f64 {
        self.mass
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    fn lesson(values: u64, value_ns: u64) -> Histogram {
        let mut histogram = Histogram::new();
        for _ in 0..values {
            histogram.record(value_ns);
        }
        histogram
    }

    fn near(answer: Option<u64>, value_ns: u64) -> bool {
        answer.is_some_and(|answer| (value_ns..value_ns + value_ns / 31).contains(&answer))
    }

    #[test]
    fn follows_upward_at_once_and_downward_after_44_lessons() {
        let mut memory = Memory::new();
        for _ in 0..60 {
            memory.learn(&lesson(100, 10 * MS));
        }
        assert!(near(memory.quantile(0.99), 10 * MS));

        memory.learn(&lesson(100, 80 * MS));
        assert!(near(memory.quantile(0.99), 80 * MS));

        for _ in 0..60 {
            memory.learn(&lesson(100, 80 * MS));
        }
        let back = (1..100).find(|_| {
            memory.learn(&lesson(100, 10 * MS));
            near(memory.quantile(0.99), 10 * MS)
        });
        assert_eq!(back, Some(44));
    }

    #[test]
    fn rare_values_are_kept_for_longer() {
        let mut memory = Memory::new();
        for _ in 0..1_000 {
            memory.learn(&lesson(1, 10 * MS));
        }
        assert_eq!(memory.mass().round(), Memory::KEPT);

        for _ in 0..4 {
            memory.learn(&lesson(1, 80 * MS));
        }
        assert!(near(memory.quantile(0.99), 10 * MS), "four of 500");
        memory.learn(&lesson(2, 80 * MS));
        assert!(near(memory.quantile(0.99), 80 * MS), "six of 500");
    }

    #[test]
    fn an_empty_lesson_changes_nothing() {
        let mut memory = Memory::new();
        assert_eq!(memory.quantile(0.5), None);
        memory.learn(&lesson(700, 10 * MS));
        let before = memory.clone();

        memory.learn(&Histogram::new());

        assert_eq!(memory, before);
    }

    proptest! {
        #[test]
        fn a_single_lesson_is_remembered_as_it_was(
            values in prop::collection::vec(0..10_000 * MS, 1..200),
            q in 0.0..=1.0_f64,
        ) {
            let mut histogram = Histogram::new();
            for value in values {
                histogram.record(value);
            }
            let mut memory = Memory::new();
            memory.learn(&histogram);

            // The histogram knows its maximum, the memory the end of the maximum's cell.
            let (exact, answer) = (histogram.quantile(q).unwrap(), memory.quantile(q).unwrap());
            prop_assert!(answer >= exact && answer <= exact + exact / 31 + 64);
        }

        #[test]
        fn the_mass_stays_within_ten_lessons_or_what_is_kept(
            counts in prop::collection::vec(0..2_000_u64, 1..100),
        ) {
            let mut memory = Memory::new();
            let most = *counts.iter().max().unwrap() as f64;

            for count in counts {
                memory.learn(&lesson(count, MS));
                prop_assert!(memory.mass() <= (10.0 * most).max(Memory::KEPT) + 1e-6);
            }
        }
    }
}
