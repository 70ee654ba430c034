//! What sizes have written lately.

use super::size::FALL_FORGOTTEN_NS;

/// How many rows a second batches of about one size have written.
#[derive(Clone, Debug)]
pub(super) struct Rates {
    sizes: [Rate; Rates::SIZES],
    /// How many batches in a row were not at all as others of their size.
    surprises: u32,
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
}

impl Rates {
    /// Sizes a fifth apart are told apart, up to the highest cap: 1.2⁶² rows.
    const RATIO: f64 = 1.2;
    const SIZES: usize = 63;

    /// So many batches make a rate: one may have met a checkpoint.
    const BATCHES_MIN: u32 = 3;

    /// A size is worse if it writes a tenth less; less is chance.
    const WORSE: f64 = 0.9;

    /// A batch so many times quicker or slower than others of its size is not averaged.
    const SURPRISE: f64 = 1.6;

    /// What is kept of the best with each batch: it is forgotten within a hundred or two.
    const BEST_KEEP: f64 = 0.99;

    /// How much of the average the latest batch is.
    const WEIGHT: f64 = 0.25;

    fn of(rows: f64) -> usize {
        ((rows.max(1.0).ln() / Self::RATIO.ln()) as usize).min(Self::SIZES - 1)
    }

    /// Notes what a batch took. Gives how long it would have taken at most with nobody in its way: in proportion, as the
    /// best of the smaller ones have.
    pub(super) fn work_ns(&mut self, rows: f64, took_ns: f64, now: u64) -> f64 {
        let size = Self::of(rows);
        if !self.sizes[size].is_fresh(now) {
            self.sizes[size] = Rate::default();
        }
        let known = &mut self.sizes[size];
        known.latest = now;
        known.best = (rows / took_ns).max(known.best * Self::BEST_KEEP);
        let best = self.sizes[..=size]
            .iter()
            .filter(|rate| rate.is_fresh(now))
            .map(|rate| rate.best)
            .fold(0.0, f64::max);
        rows / best
    }

    /// Averages a batch whose size was noted just now.
    pub(super) fn note(&mut self, rows: f64, took_ns: f64) {
        let size = Self::of(rows);
        let rate = rows / took_ns;
        let known = self.sizes[size];
        if known.batches > 0 {
            let usual = known.rate / Self::SURPRISE..known.rate * Self::SURPRISE;
            if usual.contains(&rate) {
                self.surprises = 0;
            } else if self.surprises == 0 {
                self.surprises = 1;
                return;
            } else {
                // Twice in a row is no chance: what is known is of another time.
                *self = Self::default();
                self.sizes[size] = Rate {
                    best: rate,
                    latest: known.latest,
                    ..Rate::default()
                };
            }
        }
        let known = &mut self.sizes[size];
        known.batches = known.batches.saturating_add(1);
        // The plain mean of the first ones.
        let weight = Self::WEIGHT.max(1.0 / f64::from(known.batches));
        known.rate += weight * (rate - known.rate);
        known.rows += weight * (rows - known.rows);
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
        let rate = &self.sizes[size];
        (rate.batches >= Self::BATCHES_MIN && rate.is_fresh(now)).then_some(rate)
    }
}

impl Rate {
    fn is_fresh(&self, now: u64) -> bool {
        now - self.latest < FALL_FORGOTTEN_NS
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            sizes: [Rate::default(); Self::SIZES],
            surprises: 0,
        }
    }
}
