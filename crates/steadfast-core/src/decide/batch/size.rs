//! The controller: from what was seen to how much comes next.

use std::time::Duration;

/// What a [`BatchSize`] aims at and never exceeds.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use std::time::Duration;
/// use steadfast::decide::batch::SizeConfig;
///
/// let config = SizeConfig {
///     lag_max: Some(Duration::from_secs(1)),
///     ..SizeConfig::default()
/// };
/// assert_eq!(config.rows_max, 200);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizeConfig {
    /// The most rows of a batch: 1 to [`SizeConfig::ROWS_MAX_LIMIT`], 200 by default. On hot rows
    /// more do not write faster, and hold their locks longer; up to that what a row costs falls.
    pub rows_max: u32,
    /// How long a batch should take: 1 ms to 10 s, 50 ms by default. A lock that is held for so
    /// long is not noticed by a person, and a commit of a few milliseconds is still a small part
    /// of it.
    pub target: Duration,
    /// The most bytes of a batch: at least 1, 1 MiB by default, which a connection sends within a
    /// few milliseconds and a server holds many times over.
    pub bytes_max: usize,
    /// How many may wait for locks while we write: 2 by default. Somebody always waits for a moment
    /// on a busy table; three and more are a queue. With more, batches become smaller or fewer: it
    /// writes for a sixteenth of the time at least, and no rest is longer than twenty targets.
    pub waiters_max: u32,
    /// How far replicas may be behind; `None`, the default, for a database without any, or whose
    /// lag is nobody's concern: then nothing is asked and nothing is paused.
    pub lag_max: Option<Duration>,
    /// What to do while nothing is known about the replicas; only of meaning with `lag_max`.
    pub unknown_lag: UnknownLag,
    /// How long nothing at all is written because of replicas: 100 ms to an hour, 10 s by default.
    /// Then one batch of the smallest size passes, so that a replica which is gone for good slows
    /// the writer down instead of stopping it.
    pub pause_max: Duration,
}

/// What to do while nothing is known about the replicas: nobody has looked, the look failed, or it
/// is too long ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownLag {
    /// Writes as if there were no replica.
    Proceed,
    /// Writes a tenth of the cap at once, and then rests as long as that took. The default: it goes
    /// on, and no replica that keeps up with half of the writes falls behind.
    #[default]
    Slow,
    /// Writes as if the replicas were over their limit: one smallest batch each
    /// [`pause_max`](SizeConfig::pause_max).
    Pause,
}

/// How far the replicas are behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lag {
    /// Nobody could tell.
    #[default]
    Unknown,
    /// The one that is farthest behind is so far behind.
    Known(Duration),
}

/// What a look at the database has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// How many wait for locks; `None` when nobody could tell, which changes nothing.
    pub lock_waiters: Option<u32>,
    /// How far the replicas are behind.
    pub lag: Lag,
}

/// A batch that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrote {
    /// How many rows it had.
    pub rows: u32,
    /// How long it took, from the first byte to the answer to its commit.
    pub took_ns: u64,
}

/// What may be written next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// At most so many rows; at least one.
    pub rows: u32,
    /// At most so many bytes, but always one row.
    pub bytes: usize,
    /// Not before this instant, in nanoseconds. It may come earlier with the next look.
    pub not_before: u64,
    /// What bounds it.
    pub constraint: Constraint,
}

/// Names what bounds the size of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Constraint {
    /// The cap on rows: nothing else does.
    #[default]
    Cap,
    /// The time that a batch takes.
    Time,
    /// Larger batches were seen to write fewer rows a second.
    Throughput,
    /// Others wait for locks.
    LockWaiters,
    /// Replicas are behind.
    Lag,
    /// Nothing is known about the replicas.
    UnknownLag,
}

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
    rows: f64,
    /// What has set `rows`.
    bound: Constraint,
    /// Which part of the time it writes; for the rest of it, it rests.
    share: f64,
    /// Where the last fall began, and when.
    fell: Option<(f64, u64)>,
    rates: Rates,
    looked: Option<(Pressure, u64)>,
    /// Since when nothing is written because of replicas.
    paused: Option<u64>,
    /// Until when to rest.
    rest: Option<u64>,
    /// How long the last batch took, in nanoseconds.
    took: f64,
    /// How many of the latest batches have waited for locks themselves, of 1.
    waited: f64,
    latest: u64,
}

/// Refuses a [`SizeConfig`] whose numbers are out of range; the message names the bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {value}, but must be from {least} to {most}")]
pub struct InvalidSize {
    what: &'static str,
    value: String,
    least: String,
    most: String,
}

/// A batch that was at least so full says something about larger ones.
const FULL: f64 = 0.9;

/// No step grows a batch by more than half, or shrinks it below the half: one slow commit, of a
/// checkpoint say, is not a new state of the world.
const GROWTH_MAX: f64 = 1.5;
const SHRINK_MAX: f64 = 0.5;

/// From so near below a fall on, growth is by a fiftieth.
const NEAR_FALL: f64 = 0.85;
const NEAR_GROWTH: f64 = 1.02;

/// After so long a fall is forgotten: 30 s, a few hundred batches. Whatever made it may be over.
const FALL_FORGOTTEN_NS: u64 = 30_000_000_000;

/// A batch may take so much longer than its target before it counts as a fall: times scatter.
const SCATTER: f64 = 1.25;

/// What is aimed at, of the target: below, since times scatter to both sides.
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

/// It writes for at least a sixteenth of the time, whoever waits: so it is slow, and never stands still.
const SHARE_MIN: f64 = 1.0 / 16.0;

/// By how much the share grows with each look that finds few who wait: back from the least in three seconds.
const SHARE_GROWTH: f64 = 1.1;

/// No rest is longer than so many targets, a second by default.
const REST_TARGETS: u64 = 20;

// === impl SizeConfig ===

impl SizeConfig {
    /// The highest cap on rows: 65,535, as many as a statement can have parameters.
    pub const ROWS_MAX_LIMIT: u32 = 65_535;

    /// How old a look may be before it tells nothing any more: 300 ms, three looks of the
    /// [`BatchWriter`](crate::batch::BatchWriter).
    pub const LOOK_VALID: Duration = Duration::from_millis(300);

    const TARGET: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(10));
    const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3_600));

    fn check(&self) -> Result<(), InvalidSize> {
        let rows = i64::from(self.rows_max);
        within("rows_max", &rows, &1, &i64::from(Self::ROWS_MAX_LIMIT))?;
        within("target", &self.target, &Self::TARGET.0, &Self::TARGET.1)?;
        within("bytes_max", &self.bytes_max, &1, &usize::MAX)?;
        within("pause_max", &self.pause_max, &Self::PAUSE.0, &Self::PAUSE.1)
    }
}

fn within<T: PartialOrd + std::fmt::Debug>(
    what: &'static str,
    value: &T,
    least: &T,
    most: &T,
) -> Result<(), InvalidSize> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(InvalidSize {
        what,
        value: format!("{value:?}"),
        least: format!("{least:?}"),
        most: format!("{most:?}"),
    })
}

impl Default for SizeConfig {
    fn default() -> Self {
        Self {
            rows_max: 200,
            target: Duration::from_millis(50),
            bytes_max: 1 << 20,
            waiters_max: 2,
            lag_max: None,
            unknown_lag: UnknownLag::default(),
            pause_max: Duration::from_secs(10),
        }
    }
}

// === impl Constraint ===

impl Constraint {
    /// All of them.
    pub const ALL: [Constraint; 6] = [
        Constraint::Cap,
        Constraint::Time,
        Constraint::Throughput,
        Constraint::LockWaiters,
        Constraint::Lag,
        Constraint::UnknownLag,
    ];

    /// Gives the name, as labels have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Constraint::Cap => "cap",
            Constraint::Time => "time",
            Constraint::Throughput => "throughput",
            Constraint::LockWaiters => "lock_waiters",
            Constraint::Lag => "lag",
            Constraint::UnknownLag => "unknown_lag",
        }
    }
}

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
            bound: Constraint::Time,
            share: 1.0,
            fell: None,
            rates: Rates::default(),
            looked: None,
            paused: None,
            rest: None,
            took: 0.0,
            waited: 0.0,
            latest: 0,
        })
    }

    /// Says what may be written next.
    pub fn step(&mut self, now: u64) -> Step {
        let now = self.at(now);
        let free = Step {
            rows: (self.rows as u32).clamp(1, self.config.rows_max),
            bytes: self.config.bytes_max,
            not_before: self.rest.unwrap_or(0),
            constraint: match self.share < 1.0 {
                true => Constraint::LockWaiters,
                false => self.bound,
            },
        };
        match self.replicas(now) {
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

    /// Learns from a batch that was written. One that failed says nothing about its size.
    pub fn wrote(&mut self, wrote: Wrote, now: u64) {
        let now = self.at(now);
        // A pause goes on after the one batch that it has let through.
        if let Some(since) = &mut self.paused {
            *since = now;
        }
        let slow = self.config.unknown_lag == UnknownLag::Slow
            && self.replicas(now) == Some(Constraint::UnknownLag);
        let for_replicas = if slow { wrote.took_ns } else { 0 };
        let rest_ns = self.rest_ns(wrote.took_ns, now).max(for_replicas);
        self.rest = (rest_ns > 0).then(|| now.saturating_add(rest_ns));

        let target = nanos(self.config.target) as f64;
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
        self.rates.note(rows, took);
        self.took = took;
        let full = rows >= FULL * self.rows.floor();
        if took > SCATTER * target {
            // Also a batch that was not full has held its locks too long.
            let keep = (AIM * target / took).max(SHRINK_MAX);
            self.fall(rows.min(self.rows), keep, Constraint::Time, now);
        } else if let Some(better) = self.rates.better_below(rows, now).filter(|_| full) {
            self.fall(self.rows, better / self.rows, Constraint::Throughput, now);
        } else if full {
            let wanted = (AIM * target / took).clamp(SHRINK_MAX, GROWTH_MAX);
            self.follow(wanted, now);
        }
    }

    /// Learns that others were in the way of a batch, so that it was rolled back.
    pub fn conflict(&mut self, now: u64) {
        let now = self.at(now);
        self.fall(self.rows, WAITERS_KEEP, Constraint::LockWaiters, now);
    }

    /// Learns from a look at the database.
    pub fn looked(&mut self, pressure: Pressure, now: u64) {
        let now = self.at(now);
        self.looked = Some((pressure, now));
        if !self.is_waited_for(now) {
            self.share = (self.share * SHARE_GROWTH).min(1.0);
            return;
        }
        let quick = self.took <= QUICK * nanos(self.config.target) as f64;
        let fewer = self.rows * WAITERS_KEEP;
        if quick || self.waited >= RIVALS && !self.rates.is_as_good(fewer, self.rows, now) {
            self.share = (self.share * WAITERS_KEEP).max(SHARE_MIN);
        } else {
            self.fall(self.rows, WAITERS_KEEP, Constraint::LockWaiters, now);
        }
    }

    /// Gives the rows of the next batch before replicas are considered.
    #[must_use]
    pub fn rows(&self) -> u32 {
        (self.rows as u32).clamp(1, self.config.rows_max)
    }

    /// Says whether replicas stand in the way, and how.
    fn replicas(&self, now: u64) -> Option<Constraint> {
        let lag_max = self.config.lag_max?;
        let valid = nanos(SizeConfig::LOOK_VALID);
        let known = self.looked.filter(|(_, at)| now - at <= valid);
        match known.map_or(Lag::Unknown, |(pressure, _)| pressure.lag) {
            Lag::Known(lag) if lag <= lag_max => None,
            Lag::Known(_) => Some(Constraint::Lag),
            Lag::Unknown => match self.config.unknown_lag {
                UnknownLag::Proceed => None,
                UnknownLag::Slow | UnknownLag::Pause => Some(Constraint::UnknownLag),
            },
        }
    }

    fn is_waited_for(&self, now: u64) -> bool {
        let valid = nanos(SizeConfig::LOOK_VALID);
        let waiters = self.looked.filter(|(_, at)| now - at <= valid);
        waiters
            .and_then(|(pressure, _)| pressure.lock_waiters)
            .is_some_and(|waiters| waiters > self.config.waiters_max)
    }

    /// Says whether there are others who write as we do: they were seen to wait, and so were we.
    fn has_rivals(&self) -> bool {
        self.share < 1.0 && self.waited >= RIVALS
    }

    /// Says how long to rest after a batch that took so long. Nobody rests by what was seen too long ago.
    fn rest_ns(&self, took_ns: u64, now: u64) -> u64 {
        let valid = nanos(SizeConfig::LOOK_VALID);
        if self.looked.is_none_or(|(_, at)| now - at > valid) {
            return 0;
        }
        let rest = took_ns as f64 * (1.0 / self.share - 1.0);
        (rest as u64).min(nanos(self.config.target).saturating_mul(REST_TARGETS))
    }

    fn is_near_fall(&self, now: u64) -> bool {
        self.fell
            .filter(|(_, at)| now - at < FALL_FORGOTTEN_NS)
            .is_some_and(|(from, _)| self.rows >= NEAR_FALL * from)
    }

    fn fall(&mut self, from: f64, keep: f64, why: Constraint, now: u64) {
        // What fell again on its way down has fallen from where it was at first.
        let from = match self.fell {
            Some((first, at)) if from < first && now - at < nanos(self.config.target) * 4 => first,
            _ => from,
        };
        self.fell = Some((from, now));
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
        if self.is_waited_for(now) && !self.has_rivals() {
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
        self.latest
    }
}

/// How many rows a second batches of about one size have written.
#[derive(Clone, Debug)]
struct Rates {
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
    fn work_ns(&mut self, rows: f64, took_ns: f64, now: u64) -> f64 {
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
    fn note(&mut self, rows: f64, took_ns: f64) {
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
    fn better_below(&self, rows: f64, now: u64) -> Option<f64> {
        let here = Self::of(rows);
        let own = self.known(here, now)?;
        let below = (0..here).filter_map(|size| self.known(size, now));
        let best = below.max_by(|one, other| one.rate.total_cmp(&other.rate))?;
        (own.rate < Self::WORSE * best.rate).then_some(best.rows)
    }

    /// Tells whether a smaller size is known to write no less.
    fn is_as_good(&self, rows: f64, than: f64, now: u64) -> bool {
        let known = |rows| self.known(Self::of(rows), now);
        known(rows)
            .zip(known(than))
            .is_some_and(|(one, other)| one.rate >= Self::WORSE * other.rate)
    }

    /// Tells whether a larger size is known to write less.
    fn is_worse(&self, rows: f64, than: f64, now: u64) -> bool {
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

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
