use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::event::{Event, Stuck};
use super::party::Party;
use super::{Who, time};
use crate::context::Name;
use crate::decide::lateness::{Change, InvalidInterval, Silence};

/// How many pieces of work can be watched for progress: 4,096.
pub const PROGRESS_MAX: usize = 4_096;

/// Promises a sign of progress in every interval, until the [`Progress`] is dropped.
///
/// While a [watchdog](super::start) runs, work that gives none for three intervals is told as
/// [stuck](Event::Stuck), with the scopes at hand and the place of this call; and as
/// [resumed](Event::Resumed) when it goes on.
///
/// # Errors
/// [`ProgressError`]: when `every` is zero or longer than a year, or when [`PROGRESS_MAX`] pieces
/// of work are watched; only the latter may be retried.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use std::time::Duration;
/// use steadfast::watch;
///
/// let progress = watch::progress("import", Duration::from_secs(10))?;
/// for row in 0..3 {
///     // … import the row …
///     progress.beat();
/// }
/// # Ok::<(), watch::ProgressError>(())
/// ```
#[track_caller]
pub fn progress(name: impl Into<Name>, every: Duration) -> Result<Progress, ProgressError> {
    Silence::new(every, 0)?;
    let work = Arc::new(Work {
        name: name.into(),
        place: Location::caller(),
        every,
        party: Party::here(),
        since: time::now(),
        beats: AtomicU64::new(0),
        silence: Mutex::new(None),
    });
    let mut watched = watched();
    if watched.len() >= PROGRESS_MAX {
        watched.retain(|known| known.strong_count() > 0);
    }
    if watched.len() >= PROGRESS_MAX {
        return Err(ProgressError(Refusal::Full));
    }
    watched.push(Arc::downgrade(&work));
    Ok(Progress { work })
}

/// Work that is watched for progress; made by [`progress`]. It is no longer watched once this is
/// dropped.
#[must_use = "the work is watched until this is dropped"]
pub struct Progress {
    work: Arc<Work>,
}

impl Progress {
    /// Gives a sign of progress. Costs one atomic addition.
    pub fn beat(&self) {
        self.work.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells whether the watchdog has found it stuck; `false` without one.
    pub fn is_stuck(&self) -> bool {
        self.work.silence().as_ref().is_some_and(Silence::is_stuck)
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("name", &self.work.name)
            .field("every", &self.work.every)
            .finish_non_exhaustive()
    }
}

/// Refuses to watch work for progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct ProgressError(#[from] Refusal);

impl ProgressError {
    /// Tells whether trying again may succeed, once other work has ended.
    pub fn is_retryable(&self) -> bool {
        self.0 == Refusal::Full
    }
}

impl From<InvalidInterval> for ProgressError {
    fn from(invalid: InvalidInterval) -> Self {
        Self(Refusal::Interval(invalid))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Interval(InvalidInterval),
    #[error("{PROGRESS_MAX} pieces of work are watched already")]
    Full,
}

struct Work {
    name: Name,
    place: &'static Location<'static>,
    every: Duration,
    party: Party,
    since: u64,
    /// Counted, not timed: the watchdog's looks are the only clock that is needed. Nothing is
    /// ordered by it.
    beats: AtomicU64,
    /// Made by the watchdog at its first look.
    silence: Mutex<Option<Silence>>,
}

static WATCHED: Mutex<Vec<Weak<Work>>> = Mutex::new(Vec::new());

fn watched() -> MutexGuard<'static, Vec<Weak<Work>>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn live() -> Vec<Arc<Work>> {
    let mut watched = watched();
    watched.retain(|known| known.strong_count() > 0);
    watched.iter().filter_map(Weak::upgrade).collect()
}

/// Looks at all work; gives what has changed.
pub(super) fn look(now: u64) -> Vec<Event> {
    live().iter().filter_map(|work| work.look(now)).collect()
}

/// Starts anew: a new watchdog has not seen anything yet.
pub(super) fn forget_seen() {
    for work in live() {
        *work.silence() = None;
    }
}

/// How many pieces of work are watched, and how many of them are stuck.
pub(super) fn counts() -> (usize, usize) {
    let live = live();
    let is_stuck = |work: &&Arc<Work>| work.silence().as_ref().is_some_and(Silence::is_stuck);
    (live.len(), live.iter().filter(is_stuck).count())
}

impl Work {
    fn silence(&self) -> MutexGuard<'_, Option<Silence>> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, now: u64) -> Option<Event> {
        let beats = self.beats.load(Ordering::Relaxed);
        let mut silence = self.silence();
        if silence.is_none() {
            *silence = Silence::new(self.every, now).ok();
        }
        let change = silence.as_mut()?.look(now, beats)?;
        drop(silence);
        Some(match change {
            Change::Stuck { silent_ns } => Event::Stuck(self.describe(now, silent_ns)),
            Change::Resumed { silent_ns } => Event::Resumed(self.describe(now, silent_ns)),
        })
    }

    fn describe(&self, now: u64, silent_ns: u64) -> Stuck {
        let who: Who = self.party.describe();
        Stuck {
            name: self.name,
            place: self.place,
            who,
            every: self.every,
            silent: Duration::from_nanos(silent_ns),
            age: Duration::from_nanos(now.saturating_sub(self.since)),
        }
    }
}
