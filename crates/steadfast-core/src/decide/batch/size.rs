//! The controller: from what was seen to how much comes next.

use std::time::Duration;

use super::rates::Rates;
use super::{
    Constraint, InvalidSize, Lag, Pressure, SizeConfig, Step, Turns, UnknownLag, Wrote, nanos,
};

/// Finds how much to write at once; see the [module](super).
///
/// Time is nanoseconds of one monotonic clock; a `now` older than one before counts as that one.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::decide::batch::{BatchSize, Constraint, SizeConfig, Wrote};
///
/// const MS: u64 = 1_000_000;
/// let mut size = BatchSize::new(SizeConfig::default())?;
///
/// // A row takes 1 ms, so 50 rows take the 50 ms that a batch may take.
/// let mut now = 0;
/// for _ in 0..50 {
///     let rows = size.step(now).rows;
///     now += u64::from(rows) * MS;
///     size.wrote(Wrote { rows, took_ns: u64::from(rows) * MS }, now);
/// }
/// let step = size.step(now);
/// assert!((40..=50).contains(&step.rows), "{}", step.rows);
/// assert_eq!(step.constraint, Constraint::Time);
/// # Ok::<(), steadfast_core::decide::batch::InvalidSize>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchSize {
    config: SizeConfig,
    /// How long a batch may be meant to take at most, in nanoseconds.
    longest: f64,
    rows: f64,
    /// What has set `rows`.
    bound: Constraint,
    /// Whether the last batch had its bytes before its rows.
    is_full_of_bytes: bool,
    /// Which part of the time it writes; for the rest of it, it rests.
    share: f64,
    /// Whose turn it is, of this writer and others that it knows of.
    turns: Turns,
    fell: Option<Fall>,
    /// To how many rows it goes back after a trial.
    trial: Option<f64>,
    rates: Rates,
    looked: Option<(Pressure, u64)>,
    /// Since when nothing is written because of replicas.
    paused: Option<u64>,
    /// Until when to rest.
    rest: Option<u64>,
    /// How long the last batch took, and which part of that does not depend on its rows, as far as is known, in
    /// nanoseconds.
    took: f64,
    fixed: f64,
    /// How many of the latest batches have waited for locks themselves, of 1.
    waited: f64,
    /// How many were seen to wait for locks, on average.
    waiters: Option<f64>,
    latest: u64,
}

/// The last time that the size fell.
#[derive(Clone, Copy, Debug)]
struct Fall {
    /// By how many rows, and how many would have been allowed.
    from: f64,
    rows: f64,
    /// How long they took, where that was why.
    took: Option<f64>,
    at: u64,
}

/// A batch that was at least so full says something about larger ones.
const FULL: f64 = 0.9;

/// No step grows a batch by more than half, or shrinks it below the half but to a size that is known to write more: one
/// slow commit, of a checkpoint say, is not a new state of the world.
const GROWTH_MAX: f64 = 1.5;
const SHRINK_MAX: f64 = 0.5;

/// From so near below a fall on, growth is by a fiftieth, until it is so far beyond that what made it is over.
const NEAR_FALL: f64 = 0.85;
const PAST_FALL: f64 = 1.25;
const NEAR_GROWTH: f64 = 1.02;

/// After so long a fall is forgotten: 30 s, a few hundred batches. Whatever made it may be over.
pub(super) const FALL_FORGOTTEN_NS: u64 = 30_000_000_000;

/// A batch may take so much longer than its target before it counts as a fall: times scatter.
const SCATTER: f64 = 1.25;

/// Where more than the half of the target does not depend on the rows, a batch may take twice that: at that size it
/// writes half of what the largest would. Half of the rows would be written in three quarters of the time, so that a third
/// less is written, and whoever waits for a batch waits not much less.
const FIXED: f64 = 2.25;

/// What is aimed at, of the time that a batch may take: below, since times scatter to both sides.
const AIM: f64 = 0.9;

/// What remains when others wait for locks.
const WAITERS_KEEP: f64 = 2.0 / 3.0;

/// A batch within so much of its target is quick: whoever waits for one does not wait for long, and a smaller one
/// would come more often.
const QUICK: f64 = 0.25;

/// A batch that takes so many times as long as its rows do has waited for locks itself.
const WAITED: f64 = 1.5;

/// How much of the average of those that waited the latest batch is, and from where on there are rivals.
const WAITED_WEIGHT: f64 = 0.05;
const RIVALS: f64 = 0.1;

/// How much of the average of those who wait the latest look is: it is of the last second.
const WAITERS_WEIGHT: f64 = 0.1;

/// It writes for at least a sixteenth of the time, whoever waits: so it is slow, and never stands still.
const SHARE_MIN: f64 = 1.0 / 16.0;

/// A trial has so much of the rows.
const TRIAL: f64 = 0.25;

/// How old a look may be, and how long it is to the next one, in nanoseconds.
const VALID_NS: u64 = SizeConfig::LOOK_VALID.as_nanos() as u64;
const LOOK_NS: f64 = VALID_NS as f64 / 3.0;

/// By how much the share grows with each look that finds few who wait: back from the least in three seconds.
const SHARE_GROWTH: f64 = 1.1;

// === impl BatchSize ===

impl BatchSize {
    /// Makes a controller that begins at a tenth of the cap: a size that harms nobody, from which
    /// the cap is six good batches away.
    ///
    /// # Errors
    ///
    /// [`InvalidSize`] if a number is out of range.
    pub fn new(config: SizeConfig) -> Result<Self, InvalidSize> {
        config.check()?;
        Ok(Self {
            rows: (f64::from(config.rows_max) / 10.0).max(1.0),
            config,
            longest: f64::INFINITY,
            bound: Constraint::Time,
            is_full_of_bytes: false,
            share: 1.0,
            turns: Turns::All,
            fell: None,
            trial: None,
            rates: Rates::default(),
            looked: None,
            paused: None,
            rest: None,
            took: 0.0,
            fixed: 0.0,
            waited: 0.0,
            waiters: None,
            latest: 0,
        })
    }

    /// Aims at the half of a timeout at most: a batch that takes twice as long as it should is still answered. One that is
    /// not would be tried for ever.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.longest = nanos(timeout) as f64 / 2.0;
        self
    }

    /// Says what may be written next.
    pub fn step(&mut self, now: u64) -> Step {
        let now = self.at(now);
        let free = Step {
            rows: (self.rows as u32).clamp(1, self.config.rows_max),
            bytes: self.config.bytes_max,
            not_before: self.rest.unwrap_or(0),
            constraint: match self.share < 1.0 || self.turns != Turns::All {
                true => Constraint::LockWaiters,
                false if self.is_full_of_bytes => Constraint::Bytes,
                false if self.bound == Constraint::Time && self.is_fixed() => Constraint::FixedTime,
                false => self.bound,
            },
        };
        match self.replicas() {
            None => {
                self.paused = None;
                free
            }
            Some(constraint @ Constraint::UnknownLag)
                if self.config.unknown_lag == UnknownLag::Slow =>
            {
                self.paused = None;
                Step {
                    rows: free.rows.min((self.config.rows_max / 10).max(1)),
                    constraint,
                    ..free
                }
            }
            Some(constraint) => {
                let since = *self.paused.get_or_insert(now);
                Step {
                    rows: 1,
                    not_before: since.saturating_add(nanos(self.config.pause_max)),
                    constraint,
                    ..free
                }
            }
        }
    }

    /// Learns what a batch was made of, whether or not it is written then: whether its bytes left no room for the next row.
    pub fn filled(&mut self, is_full_of_bytes: bool) {
        self.is_full_of_bytes = is_full_of_bytes;
    }

    /// Learns from a batch that was written. One that failed says nothing about its size.
    pub fn wrote(&mut self, wrote: Wrote, now: u64) {
        let now = self.at(now);
        // A pause goes on after the one batch that it has let through.
        if let Some(since) = &mut self.paused {
            *since = now;
        }
        let slow = self.config.unknown_lag == UnknownLag::Slow
            && self.replicas() == Some(Constraint::UnknownLag);
        let for_replicas = if slow { wrote.took_ns } else { 0 };
        let rest_ns = self.rest_ns(wrote.took_ns).max(for_replicas);
        self.rest = (rest_ns > 0).then(|| now.saturating_add(rest_ns));

        let took = (wrote.took_ns as f64).max(1.0);
        let rows = f64::from(wrote.rows.max(1));
        let work = self.rates.work_ns(rows, took, now);
        let has_waited = f64::from(u8::from(took > WAITED * work));
        self.waited += WAITED_WEIGHT * (has_waited - self.waited);
        // Where others write as we do, we wait for them, and no size of ours changes that.
        let took = match self.has_rivals() {
            true => took.min(work),
            false => took,
        };
        self.rates.note(rows, took, now);
        self.took = took;
        self.fixed = self.rates.fixed_ns(now).unwrap_or(0.0);
        let aim = self.aim();
        let was_trial = self.end_trial();
        let full = !was_trial && rows >= FULL * self.rows.floor();
        if took > SCATTER * aim {
            // Also a batch that was not full has held its locks too long; a trial that did so says it of what it was for.
            let keep = (AIM * aim / took).max(SHRINK_MAX);
            let from = match was_trial {
                true => self.rows,
                false => rows.min(self.rows),
            };
            self.fall(from, keep, Constraint::Time, Some(took), now);
            if self.rows < 2.0 && !self.rates.has(2.0, now) {
                // One size alone does not tell whether fewer rows help.
                self.set(2.0);
            }
        } else if let Some(rows) = self.in_vain(now) {
            self.fell = None;
            self.set(rows);
        } else if let Some(better) = self.rates.better_below(rows, now).filter(|_| full) {
            self.fall(
                self.rows,
                better / self.rows,
                Constraint::Throughput,
                None,
                now,
            );
        } else if full && !self.rates.is_surprised() {
            let wanted = (AIM * aim / took).clamp(SHRINK_MAX, GROWTH_MAX);
            self.follow(wanted, now);
            if took >= AIM * AIM * self.target() {
                self.try_other(now);
            }
        }
    }

    /// Learns that a batch was too much for the database, so that it was rolled back. How long that took says nothing:
    /// it is when the database gave up.
    pub fn too_much(&mut self, rows: u32, now: u64) {
        let now = self.at(now);
        self.end_trial();
        let from = f64::from(rows.max(1)).min(self.rows);
        self.fall(from, SHRINK_MAX, Constraint::Time, None, now);
    }

    /// Learns that others were in the way of a batch, so that it was rolled back.
    pub fn conflict(&mut self, now: u64) {
        let now = self.at(now);
        self.end_trial();
        self.fall(self.rows, WAITERS_KEEP, Constraint::LockWaiters, None, now);
    }

    /// Learns whose turn it is, where writers know of each other ([`InFlight`](super::InFlight)): until one in flight is
    /// too many, those who wait are not for this writer to see to.
    pub fn takes_turns(&mut self, turns: Turns) {
        self.turns = turns;
    }

    /// Learns from a look at the database whose answer came `at`. One look counts once, however often it is shown.
    pub fn looked(&mut self, pressure: Pressure, at: u64) {
        let last = self.looked.map(|(_, last)| last);
        if last.is_some_and(|last| at <= last) {
            return;
        }
        if let Some(blind) = last.map(|last| at - last).filter(|blind| *blind > VALID_NS) {
            // As if as many looks had found nobody.
            let looks = blind as f64 / LOOK_NS;
            self.share = (self.share * SHARE_GROWTH.powf(looks)).min(1.0);
        }
        self.looked = Some((pressure, at));
        let now = self.at(at);
        self.waiters = pressure.lock_waiters.map(|waiters| {
            let waiters = f64::from(waiters);
            let average = self.waiters.unwrap_or(waiters);
            average + WAITERS_WEIGHT * (waiters - average)
        });
        if !self.is_waited_for() {
            self.share = (self.share * SHARE_GROWTH).min(1.0);
            return;
        }
        // A trial has few rows, and may show that fewer are no help.
        if self.turns == Turns::Some || self.trial.is_some() {
            return;
        }
        let fewer = self.rows * WAITERS_KEEP;
        let is_no_help = match self.waited >= RIVALS {
            true => !self.rates.is_as_good(fewer, self.rows, now),
            // They would hold their locks for nearly as long.
            false => self.target().max(self.took) <= FIXED * self.fixed,
        };
        if is_no_help || self.took <= QUICK * self.target() {
            self.share = (self.share * WAITERS_KEEP).max(SHARE_MIN);
        } else {
            self.fall(self.rows, WAITERS_KEEP, Constraint::LockWaiters, None, now);
        }
    }

    /// Gives the rows of the next batch before replicas are considered.
    #[must_use]
    pub fn rows(&self) -> u32 {
        (self.rows as u32).clamp(1, self.config.rows_max)
    }

    /// Gives what was seen last, unless that is too long ago.
    fn look(&self) -> Option<Pressure> {
        self.looked
            .filter(|(_, at)| self.latest.saturating_sub(*at) <= VALID_NS)
            .map(|(pressure, _)| pressure)
    }

    /// Says whether replicas stand in the way, and how.
    fn replicas(&self) -> Option<Constraint> {
        let lag_max = self.config.lag_max?;
        match self.look().map_or(Lag::Unknown, |pressure| pressure.lag) {
            Lag::Known(lag) if lag <= lag_max => None,
            Lag::Known(_) => Some(Constraint::Lag),
            Lag::AtLeast(lag) if lag > lag_max => Some(Constraint::Lag),
            Lag::AtLeast(_) | Lag::Unknown => match self.config.unknown_lag {
                UnknownLag::Proceed => None,
                UnknownLag::Slow | UnknownLag::Pause => Some(Constraint::UnknownLag),
            },
        }
    }

    fn is_waited_for(&self) -> bool {
        self.look()
            .and_then(|pressure| pressure.lock_waiters)
            .is_some_and(|waiters| waiters > self.config.waiters_max)
    }

    /// Says whether there are others who write as we do: they were seen to wait, and so were we.
    fn has_rivals(&self) -> bool {
        (self.share < 1.0 || self.turns == Turns::Some) && self.waited >= RIVALS
    }

    /// Says how long to rest after a batch that took so long. Nobody rests by what was seen too long ago.
    fn rest_ns(&self, took_ns: u64) -> u64 {
        if self.look().is_none() {
            return 0;
        }
        let rest = took_ns as f64 * (1.0 / self.share - 1.0);
        (rest as u64)
            .min(nanos(self.config.target).saturating_mul(u64::from(SizeConfig::REST_TARGETS)))
    }

    fn target(&self) -> f64 {
        (nanos(self.config.target) as f64).min(self.longest)
    }

    /// How long a batch may take.
    fn aim(&self) -> f64 {
        self.target()
            .max(FIXED * self.fixed_of_ours())
            .min(self.longest)
    }

    /// What does not depend on the rows, without what a batch has waited for those of others. Who waits in a line for locks
    /// waits for as much as it takes itself, once for each of the others, and a trial of fewer rows waits as long: so for
    /// each of them the time of the rows is in what seems not to depend on them. Where more wait than are tolerated, it is
    /// rests that let them through, and they may all wait for us.
    fn fixed_of_ours(&self) -> f64 {
        let tolerated = f64::from(self.config.waiters_max);
        let waiters = self.waiters.filter(|waiters| *waiters <= tolerated);
        let of_rows = (self.took - self.fixed).max(0.0);
        (self.fixed - waiters.unwrap_or(0.0) * of_rows).max(0.0)
    }

    /// Says whether what does not depend on the rows leaves no size that takes no longer than the target and is worth it.
    fn is_fixed(&self) -> bool {
        FIXED * self.fixed_of_ours() > self.target()
    }

    fn is_near_fall(&self, now: u64) -> bool {
        self.fell
            .filter(|fall| now - fall.at < FALL_FORGOTTEN_NS)
            .is_some_and(|fall| {
                // Who waited for locks is told by no batch of ours.
                let is_past = fall.took.is_some() && self.rows >= PAST_FALL * fall.from;
                self.rows >= NEAR_FALL * fall.from && !is_past
            })
    }

    /// Gives the size before a fall that was for a time which batches may take, as it turns out.
    fn in_vain(&self, now: u64) -> Option<f64> {
        let fall = self.fell.filter(|fall| now - fall.at < FALL_FORGOTTEN_NS)?;
        if self.is_waited_for() {
            return None;
        }
        let may_take = fall.took.is_some_and(|took| took <= SCATTER * self.aim());
        (may_take && fall.rows > self.rows).then_some(fall.rows)
    }

    fn fall(&mut self, from: f64, keep: f64, why: Constraint, took: Option<f64>, now: u64) {
        let mut fall = Fall {
            from,
            rows: self.rows,
            took,
            at: now,
        };
        // What fell again on its way down has fallen from where it was at first.
        let soon = (4.0 * self.target().max(self.took)) as u64;
        if let Some(first) = self.fell.filter(|first| now - first.at < soon) {
            fall.from = first.from.max(from);
            fall.rows = first.rows.max(self.rows);
            fall.took = first.took.zip(took).map(|(first, took)| first.max(took));
        }
        self.fell = Some(fall);
        self.bound = why;
        self.set(self.rows.min(from) * keep);
    }

    /// Goes where a full batch has pointed, as far as others let it.
    fn follow(&mut self, wanted: f64, now: u64) {
        if wanted <= 1.0 {
            self.bound = Constraint::Time;
            self.set(self.rows * wanted);
            return;
        }
        if self.is_waited_for() && !self.has_rivals() {
            return;
        }
        let growth = match self.is_near_fall(now) {
            true => NEAR_GROWTH.min(wanted),
            false => wanted,
        };
        // At least a quarter of a row, or a small size would stay for ever.
        let grown = (self.rows * growth).max(self.rows + 0.25);
        if self.rates.is_worse(grown, self.rows, now) {
            self.bound = Constraint::Throughput;
        } else {
            if self.bound == Constraint::LockWaiters {
                self.bound = Constraint::Time;
            }
            self.set(grown);
        }
    }

    /// Tries one batch of another size where batches take as long as they may: one size alone does not tell what depends
    /// on the rows.
    fn try_other(&mut self, now: u64) {
        let fewer = (self.rows * TRIAL).floor().max(1.0);
        if self.rows < 2.0 {
            if !self.rates.has_lately(2.0..=2.0, now) {
                self.set(2.0);
            }
        } else if !self.has_rivals() && !self.rates.has_lately(1.0..=fewer, now) {
            self.trial = Some(self.rows);
            self.set(fewer);
        }
    }

    /// Goes back to the size that a trial was for, if there is one; says whether there was.
    fn end_trial(&mut self) -> bool {
        let rows = self.trial.take();
        if let Some(rows) = rows {
            self.set(rows);
        }
        rows.is_some()
    }

    fn set(&mut self, rows: f64) {
        let cap = f64::from(self.config.rows_max);
        self.rows = rows.clamp(1.0, cap);
        if self.rows >= cap {
            self.bound = Constraint::Cap;
        } else if self.bound == Constraint::Cap {
            self.bound = Constraint::Time;
        }
    }

    fn at(&mut self, now: u64) -> u64 {
        self.latest = self.latest.max(now);
        if self.look().is_none() {
            // Who waited then says nothing about now.
            self.waiters = None;
        }
        self.latest
    }
}
