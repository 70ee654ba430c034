//! What sizes have written lately.

use std::ops::RangeInclusive;

use super::size::FALL_FORGOTTEN_NS;

/// How many rows a second batches of about one size have written.
#[derive(Clone, Debug)]
pub(super) struct Rates {
    sizes: [Rate; Rates::SIZES],
    /// The latest batch, and when, if it was not at all as others are.
    surprise: Option<(Batch, u64)>,
    /// For how long a size is known.
    valid_ns: u64,
    /// How many batches there were.
    batches: u32,
}

/// How many rows took how long.
#[derive(Clone, Copy, Debug)]
struct Batch {
    rows: f64,
    took_ns: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    rows: f64,
    /// Rows a nanosecond, averaged.
    rate: f64,
    /// The best one.
    best: f64,
    batches: u32,
    latest: u64,
    lately: Lately,
}

/// What batches of about one size took lately, averaged.
#[derive(Clone, Copy, Debug, Default)]
struct Lately {
    rows: f64,
    took_ns: f64,
    batches: u32,
    /// Which of all batches was the latest.
    number: u32,
}

impl Rates {
    /// Sizes a fifth apart are told apart, up to the highest cap: 1.2⁶² rows.
    const RATIO: f64 = 1.2;
    const SIZES: usize = 63;

    /// So many batches make a rate: one may have met a checkpoint.
    const BATCHES_MIN: u32 = 3;

    /// A size is worse if it writes a tenth less; less is chance.
    const WORSE: f64 = 0.9;

    /// A batch so many times quicker or slower than others of its size lately is a surprise, and not averaged. After one, so
    /// is a batch of another size that takes so many times as long as one of more rows, or is so much quicker than one of fewer.
    const SURPRISE: f64 = 1.6;

    /// What is kept of the best with each batch: it is forgotten within a hundred or two.
    const BEST_KEEP: f64 = 0.99;

    /// How much of the average the latest batch is; so the average is worth seven.
    const WEIGHT: f64 = 0.25;
    const WORTH: f64 = 7.0;

    /// By how much of it the time of a batch scatters, for all that is known.
    const SCATTER: f64 = 0.2;

    /// The part of the time that does not depend on the rows is known once it is so many times its error.
    const CERTAIN: f64 = 2.5;

    /// It is found from so many of the latest batches: who else writes, and how quick the disk is, changes.
    const LATELY: u32 = 32;

    /// A size is known for as long as a fall, or for a hundred batches where those take longer.
    const VALID_BATCHES: u64 = 100;

    fn of(rows: f64) -> usize {
        ((rows.max(1.0).ln() / Self::RATIO.ln()) as usize).min(Self::SIZES - 1)
    }

    /// Notes what a batch took. Gives how long it would have taken at most with nobody in its way: in proportion, as the
    /// best of the smaller ones have.
    pub(super) fn work_ns(&mut self, rows: f64, took_ns: f64, now: u64) -> f64 {
        let many = (took_ns as u64).saturating_mul(Self::VALID_BATCHES);
        self.valid_ns = FALL_FORGOTTEN_NS.max(many);
        let size = Self::of(rows);
        if !self.is_fresh(size, now) {
            self.sizes[size] = Rate::default();
        }
        let known = &mut self.sizes[size];
        known.latest = now;
        known.best = (rows / took_ns).max(known.best * Self::BEST_KEEP);
        let best = (0..=size)
            .filter(|size| self.is_fresh(*size, now))
            .map(|size| self.sizes[size].best)
            .fold(0.0, f64::max);
        rows / best
    }

    /// Averages a batch whose size was noted just now, unless it is not at all as others were.
    pub(super) fn note(&mut self, rows: f64, took_ns: f64, now: u64) {
        let batch = Batch { rows, took_ns };
        self.batches = self.batches.wrapping_add(1);
        if !self.is_unlike(batch, now) {
            self.surprise = None;
        } else if let Some((before, at)) = self.surprise {
            // Twice in a row is no chance: what is known is of another time.
            *self = Self {
                valid_ns: self.valid_ns,
                batches: self.batches,
                ..Self::default()
            };
            self.average(before, at);
        } else {
            self.surprise = Some((batch, now));
            return;
        }
        self.average(batch, now);
    }

    fn average(&mut self, batch: Batch, now: u64) {
        let number = self.batches;
        let known = &mut self.sizes[Self::of(batch.rows)];
        let mut lately = known.lately;
        if number.wrapping_sub(lately.number) >= Self::LATELY {
            lately.batches = 0;
        }
        lately.batches = lately.batches.saturating_add(1);
        lately.number = number;
        let weight = Self::weight(lately.batches);
        lately.rows += weight * (batch.rows - lately.rows);
        lately.took_ns += weight * (batch.took_ns - lately.took_ns);
        known.lately = lately;
        let rate = batch.rows / batch.took_ns;
        known.latest = now;
        known.best = known.best.max(rate);
        known.batches = known.batches.saturating_add(1);
        let weight = Self::weight(known.batches);
        known.rate += weight * (rate - known.rate);
        known.rows += weight * (batch.rows - known.rows);
    }

    /// Says whether the latest batch was not at all as others were.
    pub(super) fn is_surprised(&self) -> bool {
        self.surprise.is_some()
    }

    /// Gives how much of an average of so many batches the latest is: of the first ones it is the plain mean.
    fn weight(batches: u32) -> f64 {
        Self::WEIGHT.max(1.0 / f64::from(batches))
    }

    fn is_unlike(&self, batch: Batch, now: u64) -> bool {
        let size = Self::of(batch.rows);
        let time = |size: usize| self.seen(size, now).map(Rate::took_ns);
        if self.lately(size, now).is_some() {
            let (usual, rate) = (&self.sizes[size], batch.rows / batch.took_ns);
            return !(usual.rate / Self::SURPRISE..usual.rate * Self::SURPRISE).contains(&rate);
        }
        if self.surprise.is_none() {
            return false;
        }
        let least = (0..size).rev().find_map(time).unwrap_or(0.0);
        let most = (size + 1..Self::SIZES).find_map(time);
        batch.took_ns * Self::SURPRISE < least
            || most.is_some_and(|most| batch.took_ns > most * Self::SURPRISE)
    }

    /// Gives the part of the time that a batch takes whatever its rows are: where the line through what sizes took
    /// begins. `None` while that is not known well enough, as with one size, or two that are near each other.
    pub(super) fn fixed_ns(&self, now: u64) -> Option<f64> {
        // Least squares, of errors in proportion to the times.
        let (mut all, mut rows, mut squares, mut took, mut both) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for lately in (0..Self::SIZES).filter_map(|size| self.lately(size, now)) {
            let worth =
                f64::from(lately.batches).min(Self::WORTH) / (lately.took_ns * lately.took_ns);
            all += worth;
            rows += worth * lately.rows;
            squares += worth * lately.rows * lately.rows;
            took += worth * lately.took_ns;
            both += worth * lately.rows * lately.took_ns;
        }
        let spread = all * squares - rows * rows;
        let error = Self::SCATTER * (squares / spread).sqrt();
        // Rows never save time.
        let fixed = ((squares * took - rows * both) / spread).min(took / all);
        (fixed >= Self::CERTAIN * error).then_some(fixed)
    }

    /// Says whether batches of about so many rows were written lately.
    pub(super) fn has_lately(&self, rows: RangeInclusive<f64>, now: u64) -> bool {
        (Self::of(*rows.start())..=Self::of(*rows.end()))
            .any(|size| self.lately(size, now).is_some())
    }

    /// Says whether it is known what batches of about so many rows take.
    pub(super) fn has(&self, rows: f64, now: u64) -> bool {
        self.seen(Self::of(rows), now).is_some()
    }

    /// Gives the size below that writes more, the best of them.
    pub(super) fn better_below(&self, rows: f64, now: u64) -> Option<f64> {
        let here = Self::of(rows);
        let own = self.known(here, now)?;
        let below = (0..here).filter_map(|size| self.known(size, now));
        let best = below.max_by(|one, other| one.rate.total_cmp(&other.rate))?;
        (own.rate < Self::WORSE * best.rate).then_some(best.rows)
    }

    /// Tells whether a smaller size is known to write no less.
    pub(super) fn is_as_good(&self, rows: f64, than: f64, now: u64) -> bool {
        let known = |rows| self.known(Self::of(rows), now);
        known(rows)
            .zip(known(than))
            .is_some_and(|(one, other)| one.rate >= Self::WORSE * other.rate)
    }

    /// Tells whether a larger size is known to write less.
    pub(super) fn is_worse(&self, rows: f64, than: f64, now: u64) -> bool {
        let (one, other) = (Self::of(rows), Self::of(than));
        let known = |size| self.known(size, now);
        one != other
            && known(one)
                .zip(known(other))
                .is_some_and(|(one, other)| one.rate < Self::WORSE * other.rate)
    }

    fn known(&self, size: usize, now: u64) -> Option<&Rate> {
        self.seen(size, now)
            .filter(|rate| rate.batches >= Self::BATCHES_MIN)
    }

    fn seen(&self, size: usize, now: u64) -> Option<&Rate> {
        let rate = &self.sizes[size];
        (rate.batches > 0 && self.is_fresh(size, now)).then_some(rate)
    }

    fn lately(&self, size: usize, now: u64) -> Option<&Lately> {
        let lately = &self.seen(size, now)?.lately;
        let is_late = self.batches.wrapping_sub(lately.number) < Self::LATELY;
        is_late.then_some(lately)
    }

    fn is_fresh(&self, size: usize, now: u64) -> bool {
        now - self.sizes[size].latest < self.valid_ns
    }
}

impl Rate {
    fn took_ns(&self) -> f64 {
        self.rows / self.rate
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            sizes: [Rate::default(); Self::SIZES],
            surprise: None,
            valid_ns: FALL_FORGOTTEN_NS,
            batches: 0,
        }
    }
}
