//! Halving a batch that failed, until the rows are found that cannot be written.

use std::ops::Range;

/// Finds the rows of a failed batch that cannot be written.
///
/// Write what [`next`](Self::next) gives as a transaction of its own and say how it
/// [ended](Self::ended), until there is nothing more. Ranges come in the order of the rows, so that
/// of two rows with one key the first is written first.
///
/// One bad row among n is found by at most 2·⌈log₂(n)⌉ transactions, k of them by at most k times as
/// many. Only a row that failed alone is given up: that the others were written proves nothing about
/// it, since rows can fail together.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::decide::batch::{Search, Tried};
///
/// let bad = 5;
/// let mut search = Search::new(8);
/// let mut given_up = Vec::new();
/// while let Some(rows) = search.next() {
///     if let Tried::Bad(row) = search.ended(!rows.contains(&bad)) {
///         given_up.push(row);
///     }
/// }
/// assert_eq!(given_up, [5]);
/// assert!(search.transactions() <= 6);
/// ```
#[derive(Clone, Debug)]
pub struct Search {
    /// What is to be tried, the next one last.
    left: Vec<Part>,
    transactions: u32,
}

#[derive(Clone, Debug)]
struct Part {
    rows: Range<usize>,
    /// Whether a bad row is in here, so that trying the whole would fail.
    holds_bad: bool,
    /// Whether the part before it was one half of the same whole, which had a bad row.
    second_half: bool,
}

/// What the end of a transaction says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// Its rows are written.
    Written,
    /// Its rows are not written; they come again, in smaller parts.
    Halved,
    /// This row cannot be written.
    Bad(usize),
}

impl Search {
    /// Begins after a transaction of so many rows has failed because of one of them.
    #[must_use]
    pub fn new(rows: usize) -> Self {
        let mut search = Self {
            left: Vec::new(),
            transactions: 0,
        };
        search.push_halves(0..rows);
        search
    }

    /// Gives the rows to write next; `None` when all are written or given up.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "it gives the same rows until it is told how they ended"
    )]
    pub fn next(&mut self) -> Option<Range<usize>> {
        while let Some(part) = self
            .left
            .pop_if(|part| part.holds_bad && part.rows.len() > 1)
        {
            self.push_halves(part.rows);
        }
        self.left.last().map(|part| part.rows.clone())
    }

    /// Says how the transaction of the rows ended that [`next`](Self::next) gave.
    ///
    /// # Panics
    ///
    /// If `next` has given none.
    pub fn ended(&mut self, written: bool) -> Tried {
        let part = self.left.pop().expect("`next` has given what has ended");
        self.transactions += 1;
        if written {
            // Then it is in the other half.
            if !part.second_half
                && let Some(other) = self.left.last_mut().filter(|other| other.second_half)
            {
                other.holds_bad = true;
            }
            return Tried::Written;
        }
        if part.rows.len() == 1 {
            return Tried::Bad(part.rows.start);
        }
        self.push_halves(part.rows);
        Tried::Halved
    }

    /// Gives the rows that were neither written nor given up, in order.
    pub fn undecided(&self) -> impl Iterator<Item = usize> + '_ {
        self.left.iter().rev().flat_map(|part| part.rows.clone())
    }

    /// Counts the transactions.
    #[must_use]
    pub fn transactions(&self) -> u32 {
        self.transactions
    }

    fn push_halves(&mut self, rows: Range<usize>) {
        let part = |rows: Range<usize>, second_half| Part {
            rows,
            holds_bad: false,
            second_half,
        };
        if rows.len() <= 1 {
            // It is tried once more, alone, before it is given up.
            if !rows.is_empty() {
                self.left.push(part(rows, false));
            }
            return;
        }
        let middle = rows.start + rows.len().div_ceil(2);
        self.left.push(part(middle..rows.end, true));
        self.left.push(part(rows.start..middle, false));
    }
}
