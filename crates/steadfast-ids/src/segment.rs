//! Dense ids from ranges that a store hands out: the decision when to fetch the next range.
//!
//! A snowflake tells when it was made and by whom, and has holes. Where numbers should be dense and tell
//! nothing, a store keeps one counter a tag, and a process takes a *range* of it at a time. Two things go
//! wrong with that. If the next range is fetched when the last id of the present one is gone, everybody waits
//! for the store just then; and a range that suits quiet nights is gone in a blink at noon.
//!
//! So there are two ranges: the next one is fetched while there is still plenty of the present one, and the
//! *step*, the size of a range, follows how long the last one lasted. If the store is away, the ids that are
//! there are served to the last, and only then there is an error, at once.
//!
//! This part is pure: it is told the time and what the store answered, and says what to fetch and when. The
//! caller has the lock and the connection: `Dense`, with the feature `sql`, is one.

use std::ops::Range;
use std::time::Duration;

use steadfast_core::decide::backoff::{Backoff, BackoffState};

use crate::id::Id;

/// Serves ids from ranges, and says when to fetch another.
///
/// One tag, one owner; a shell puts it behind its lock. Times are nanoseconds of any monotonic clock.
///
/// # Examples
/// ```
/// use steadfast_ids::segment::{Segments, SegmentsConfig};
///
/// let mut ids = Segments::new(SegmentsConfig::default())?;
/// let fetch = ids.fetch(0).expect("there is nothing yet");
/// // The store adds `fetch.step` to the counter, and gives what was there before.
/// ids.fetched(0, 1..1 + fetch.step)?;
///
/// assert_eq!(ids.next(5)?.get(), 1);
/// assert_eq!(ids.next(6)?.get(), 2);
/// assert!(ids.fetch(6).is_some(), "ahead of time, the range after it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Segments {
    config: SegmentsConfig,
    present: Option<Present>,
    next: Option<Range<u64>>,
    step: u64,
    /// Whether a fetch is on its way.
    fetching: bool,
    fetch_from_ns: u64,
    backoff: BackoffState,
    /// The end of the last range: the next one must not begin before.
    end: u64,
}

/// Sets the bounds of [`Segments`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentsConfig {
    /// The least step, and the first one: 100 unless set, what a process may lose at its end without regret.
    pub step_min: u64,
    /// The greatest step: 1,000,000 unless set, a second of the busiest process.
    pub step_max: u64,
    /// How long a range should last: 10 minutes unless set, so that an outage of the store of that length is
    /// not noticed.
    pub lasts: Duration,
    /// The waits after failed fetches: those of [`Backoff::default`] unless set.
    pub backoff: Backoff,
}

/// What to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// How many ids in a row to take from the store.
    pub step: u64,
}

/// Says that there is no id: the ranges are used up and no other has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the range of ids is used up, and the store has given no other")]
pub struct UsedUp(());

/// Refuses a range that a store has given: ids would come twice, or not at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store gave the ids {given:?}, {why}")]
pub struct BadRange {
    given: Range<u64>,
    why: &'static str,
}

/// Refuses a [`SegmentsConfig`]; the message names the bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSegments(&'static str);

#[derive(Clone, Debug)]
struct Present {
    left: Range<u64>,
    size: u64,
    since_ns: u64,
}

// === impl Segments ===

impl Segments {
    /// Starts with nothing: the first thing is to [`fetch`](Self::fetch).
    ///
    /// # Errors
    /// [`InvalidSegments`] if a step is zero or over 2⁴⁰, the greatest is below the least, or a range should
    /// last no time.
    pub fn new(config: SegmentsConfig) -> Result<Self, InvalidSegments> {
        const MOST: u64 = 1 << 40;
        if config.step_min == 0 || config.step_max > MOST {
            return Err(InvalidSegments("a step must be from 1 to 2^40"));
        }
        if config.step_max < config.step_min {
            return Err(InvalidSegments("the greatest step is below the least"));
        }
        if config.lasts.is_zero() {
            return Err(InvalidSegments("a range must last longer than no time"));
        }
        Ok(Self {
            config,
            present: None,
            next: None,
            step: config.step_min,
            fetching: false,
            fetch_from_ns: 0,
            backoff: config.backoff.state(),
            end: 0,
        })
    }

    /// Gives the next id.
    ///
    /// # Errors
    /// [`UsedUp`]; it works again once a range was fetched.
    pub fn next(&mut self, now_ns: u64) -> Result<Id, UsedUp> {
        if self
            .present
            .as_ref()
            .is_none_or(|present| present.left.is_empty())
        {
            self.turn(now_ns)?;
        }
        let id = self
            .present
            .as_mut()
            .and_then(|present| present.left.next());
        id.map(Id::new).ok_or(UsedUp(()))
    }

    /// Says whether a range is to be fetched now, and of which size; the caller then tells
    /// [`fetched`](Self::fetched) or [`failed`](Self::failed), and until then the answer is no.
    pub fn fetch(&mut self, now_ns: u64) -> Option<Fetch> {
        if self.fetching || self.next.is_some() || now_ns < self.fetch_from_ns {
            return None;
        }
        self.fetching = true;
        Some(Fetch { step: self.step })
    }

    /// Takes the range that the store gave.
    ///
    /// # Errors
    /// [`BadRange`] if it is empty, or begins before the end of the last one: the counter was set back, and ids
    /// that are in use would come again. Nothing of it is served; the fetch counts as failed.
    pub fn fetched(&mut self, now_ns: u64, range: Range<u64>) -> Result<(), BadRange> {
        let why = if range.is_empty() {
            Some("which are none")
        } else if range.start < self.end {
            Some("some of which it has given before: its counter was set back")
        } else {
            None
        };
        if let Some(why) = why {
            self.failed(now_ns, 0);
            return Err(BadRange { given: range, why });
        }
        self.fetching = false;
        self.fetch_from_ns = now_ns;
        self.backoff.reset();
        self.end = range.end;
        self.next = Some(range);
        if self.present.is_none() {
            // The first is made the present one at once, so that the second is fetched behind it.
            let _ = self.turn(now_ns);
        }
        Ok(())
    }

    /// Notes that the store gave nothing; the next fetch is a backoff away, drawn with `random`, 64 uniform
    /// random bits.
    pub fn failed(&mut self, now_ns: u64, random: u64) {
        self.fetching = false;
        let wait = self.backoff.next(random);
        let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        self.fetch_from_ns = now_ns.saturating_add(wait);
    }

    /// Tells whether a fetch is on its way, and none has failed since the last range came: it is worth waiting for.
    #[must_use]
    pub fn is_coming(&self) -> bool {
        self.fetching && self.backoff.failures() == 0
    }

    /// Tells when the next fetch may be, after a failed one.
    #[must_use]
    pub fn fetch_from_ns(&self) -> u64 {
        self.fetch_from_ns
    }

    /// Gives the ids that are there without the store.
    #[must_use]
    pub fn left(&self) -> u64 {
        let of = |range: &Range<u64>| range.end - range.start;
        let present = self.present.as_ref().map_or(0, |present| of(&present.left));
        present + self.next.as_ref().map_or(0, of)
    }

    /// Gives the size of the next range.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Makes the next range the present one, and judges how long the present one lasted.
    fn turn(&mut self, now_ns: u64) -> Result<(), UsedUp> {
        let next = self.next.take().ok_or(UsedUp(()))?;
        if let Some(used) = self.present.take() {
            self.adapt(used.size, now_ns.saturating_sub(used.since_ns));
        }
        self.present = Some(Present {
            size: next.end - next.start,
            left: next,
            since_ns: now_ns,
        });
        Ok(())
    }

    /// By the size of the range that was used, which may be one of an earlier step.
    fn adapt(&mut self, size: u64, lasted_ns: u64) {
        let lasts_ns = u64::try_from(self.config.lasts.as_nanos()).unwrap_or(u64::MAX);
        let (least, most) = (self.config.step_min, self.config.step_max);
        self.step = adapted(size, lasted_ns, lasts_ns, least, most);
    }
}

/// Doubles a size when it lasted less than half of what it should, halves it when it lasted more than twice that: in
/// between is what a day's ups and downs may be.
pub(crate) fn adapted(size: u64, lasted_ns: u64, lasts_ns: u64, least: u64, most: u64) -> u64 {
    let wanted = if lasted_ns < lasts_ns / 2 {
        size.saturating_mul(2)
    } else if lasted_ns > lasts_ns.saturating_mul(2) {
        size / 2
    } else {
        size
    };
    wanted.clamp(least, most)
}

impl Default for SegmentsConfig {
    fn default() -> Self {
        Self {
            step_min: 100,
            step_max: 1_000_000,
            lasts: Duration::from_secs(10 * 60),
            backoff: Backoff::default(),
        }
    }
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests;
