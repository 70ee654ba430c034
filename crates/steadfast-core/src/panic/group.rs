use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::record::{Fate, Record};
use super::rounds::{Rounds, Sum};
use super::{Kind, Location};
use crate::clock::{self, Timestamp};

/// How many places of panics are told apart: 1,024, more than a program that is worth running
/// panics at. What comes later is counted under one group without a place.
pub const GROUPS_MAX: usize = 1_024;

/// How many panics of one place get an event of their own in a second, unless [`sample`] says
/// otherwise: 10, enough to see a pattern, little enough for a storm.
pub const SAMPLES_PER_SECOND: u32 = 10;

/// How many of those have a backtrace, unless [`trace`] says otherwise: 1. Walking the stack and
/// writing thousands of characters that are nearly always the same took more than all else that a
/// panic in a service costs, many times what a request does.
pub const BACKTRACES_PER_SECOND: u32 = 1;

static SAMPLES: AtomicU32 = AtomicU32::new(SAMPLES_PER_SECOND);
static BACKTRACES: AtomicU32 = AtomicU32::new(BACKTRACES_PER_SECOND);

/// Chooses how many panics of one place get an event of their own in a second.
///
/// All are counted, and all reach whoever catches them, whatever the number; 0 leaves only counts.
pub fn sample(per_second: u32) {
    // Relaxed: a number that is read by itself.
    SAMPLES.store(per_second, Ordering::Relaxed);
}

/// Chooses how many of the panics that have an event of their own get a backtrace: the first ones of
/// a place in each second. 0 leaves none.
pub fn trace(per_second: u32) {
    // Relaxed: a number that is read by itself.
    BACKTRACES.store(per_second, Ordering::Relaxed);
}

/// How much is told of one panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It is added up with others of its place.
    Repeat,
    /// It has an event of its own.
    Alone,
    /// It has one with a backtrace.
    Traced,
}

/// The panics of one place.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Group {
    /// Names the group; made of file, line and column, so it stays the same over restarts of one
    /// release.
    pub fingerprint: u64,
    /// Where it panics; `None` for the group of all that did not fit into [`GROUPS_MAX`].
    pub location: Option<Location>,
    /// What it is, by the message of the first one.
    pub kind: Kind,
    /// The beginning of the first message.
    pub message: String,
    /// How many there were, exactly.
    pub count: u64,
    /// How many of them a catch of ours contained, exactly.
    pub contained: u64,
    /// When the first one was.
    pub first: Timestamp,
    /// When the last one was.
    pub last: Timestamp,
}

/// All groups, counted under one lock by the hook.
pub(super) struct Groups {
    by_fingerprint: HashMap<u64, Counted>,
}

struct Counted {
    /// All but `last`, which is told when somebody asks.
    group: Group,
    last: Instant,
    second: Instant,
    sampled: u32,
    /// What was counted without an event of its own.
    repeats: Rounds,
}

/// A place at which more happened than was told.
pub(super) struct Repeats {
    pub(super) group: Group,
    pub(super) sum: Sum,
}

/// Stands for the group of everything that did not fit; a real place has it by a chance of one
/// in 2⁶⁴.
const OVERFLOW: u64 = 0;

impl Groups {
    pub(super) fn new() -> Self {
        Self {
            // All at once: the hook must not be the one to grow it.
            by_fingerprint: HashMap::with_capacity(GROUPS_MAX + 1),
        }
    }

    /// Counts a panic, and says how much of it is told.
    pub(super) fn count(&mut self, record: &Record) -> Told {
        let known = self.by_fingerprint.contains_key(&record.fingerprint);
        let room = self.by_fingerprint.len() < GROUPS_MAX;
        let fingerprint = if known || room {
            record.fingerprint
        } else {
            OVERFLOW
        };
        let counted = self
            .by_fingerprint
            .entry(fingerprint)
            .or_insert_with(|| Counted::new(fingerprint, record));
        counted.count(record)
    }

    pub(super) fn contained(&mut self, record: &Record) {
        if let Some(counted) = self.of(record) {
            counted.group.contained += 1;
            counted.repeats.claimed(record);
        }
    }

    /// A sample will not be told by itself.
    pub(super) fn left_out(&mut self, record: &Record) {
        let open = record.fate() == Fate::Open;
        if let Some(counted) = self.of(record) {
            counted.repeats.add(record, record.since, open);
        }
    }

    /// Takes a claim back; tells whether the panic is told with the repeats.
    pub(super) fn resumed(&mut self, record: &Record, now: Instant) -> bool {
        let Some(counted) = self.of(record) else {
            return false;
        };
        counted.group.contained = counted.group.contained.saturating_sub(1);
        let repeat = !record.sampled || record.round().is_some() || record.raised_again();
        if repeat {
            counted.repeats.raised_again(record, now);
        }
        repeat
    }

    fn of(&mut self, record: &Record) -> Option<&mut Counted> {
        // Not by `entry`: a place that overflowed has none of its own.
        let fingerprint = match self.by_fingerprint.contains_key(&record.fingerprint) {
            true => record.fingerprint,
            false => OVERFLOW,
        };
        self.by_fingerprint.get_mut(&fingerprint)
    }

    /// Gives what has happened without an event, for places whose second is over, and when to look
    /// again if there will be more of it.
    pub(super) fn repeats(
        &mut self,
        now: Instant,
        at_once: bool,
    ) -> (Vec<Repeats>, Option<Instant>) {
        let mut due = Vec::new();
        let mut next: Option<Instant> = None;
        for counted in self.by_fingerprint.values_mut() {
            let (told, more) = counted.repeats.due(now, at_once);
            next = [next, more].into_iter().flatten().min();
            due.extend(told.into_iter().map(|sum| Repeats {
                group: counted.told(),
                sum,
            }));
        }
        (due, next)
    }

    pub(super) fn all(&self) -> Vec<Group> {
        let mut all: Vec<_> = self.by_fingerprint.values().map(Counted::told).collect();
        all.sort_by_key(|group| std::cmp::Reverse(group.count));
        all
    }
}

const SECOND: Duration = Duration::from_secs(1);

impl Counted {
    fn new(fingerprint: u64, record: &Record) -> Self {
        let overflow = fingerprint == OVERFLOW;
        Self {
            group: Group {
                fingerprint,
                location: record.location().filter(|_| !overflow),
                kind: record.kind(),
                message: record.message.as_str().to_owned(),
                count: 0,
                contained: 0,
                first: clock::timestamp_of(record.since),
                last: clock::timestamp_of(record.since),
            },
            last: record.since,
            second: record.since,
            sampled: 0,
            repeats: Rounds::new(),
        }
    }

    fn told(&self) -> Group {
        Group {
            last: clock::timestamp_of(self.last),
            ..self.group.clone()
        }
    }

    fn count(&mut self, record: &Record) -> Told {
        self.group.count += 1;
        self.last = record.since;
        if record.since.saturating_duration_since(self.second) >= SECOND {
            self.second = record.since;
            self.sampled = 0;
        }
        if self.sampled >= SAMPLES.load(Ordering::Relaxed) {
            self.repeats.add(record, record.since, true);
            return Told::Repeat;
        }
        self.sampled += 1;
        if self.sampled > BACKTRACES.load(Ordering::Relaxed) {
            return Told::Alone;
        }
        Told::Traced
    }
}

#[cfg(test)]
impl Group {
    /// One panic at a place.
    pub(crate) fn at(file: &str) -> Self {
        let now = clock::timestamp_of(clock::real());
        Self {
            fingerprint: 1,
            location: Some(Location::at(file)),
            kind: Kind::User,
            message: String::new(),
            count: 1,
            contained: 0,
            first: now,
            last: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panic::CLAIM_LIMIT;

    #[test]
    fn places_beyond_the_bound_are_counted_together_without_a_place() {
        let start = clock::real();
        let mut groups = Groups::new();
        for fingerprint in 1..=GROUPS_MAX as u64 + 50 {
            let record = Record::example(fingerprint, start);
            groups.count(&record);
            groups.contained(&record);
        }
        groups.count(&Record::example(1, start));

        let all = groups.all();

        assert_eq!(all.len(), GROUPS_MAX + 1);
        assert_eq!((all[0].count, all[0].contained), (50, 50));
        assert!(all[0].location.is_none());
        assert_eq!(
            (all[1].fingerprint, all[1].count, all[1].contained),
            (1, 2, 1)
        );
    }

    #[test]
    fn what_a_second_has_beyond_its_samples_is_told_as_repeats_once_it_is_over() {
        let start = clock::real();
        let at = |millis| start + Duration::from_millis(millis);
        let mut groups = Groups::new();
        let told = (0..25).map(|i| groups.count(&Record::example(1, at(i))));
        let samples = told.filter(|told| *told != Told::Repeat);
        assert_eq!(samples.count(), SAMPLES_PER_SECOND as usize);

        let (due, waiting) = groups.repeats(at(500), false);
        assert!(due.is_empty() && waiting.is_some());
        // The first of the repeats is the eleventh panic.
        let (due, waiting) = groups.repeats(at(1_010), false);
        assert_eq!(waiting, None);
        assert_eq!((due[0].sum.count, due[0].sum.contained), (15, false));
        let told = groups.count(&Record::example(1, at(1_010)));
        assert_eq!(told, Told::Traced, "a new second has new samples");
        assert_eq!(groups.all()[0].count, 26);
    }

    #[test]
    fn a_place_that_goes_on_to_panic_has_one_backtrace_a_second() {
        let start = clock::real();
        let at = |millis| start + Duration::from_millis(millis);
        let mut groups = Groups::new();
        // Fifteen a second, as one request in a hundred of fifteen hundred.
        let told: Vec<_> = (0..150)
            .map(|i| groups.count(&Record::example(1, at(i * 1_000 / 15))))
            .collect();

        let of = |one: Told| told.iter().filter(|told| **told == one).count();
        assert_eq!(of(Told::Traced), 10);
        assert_eq!(of(Told::Alone), 10 * (SAMPLES_PER_SECOND as usize - 1));
        let other = groups.count(&Record::example(2, at(9_999)));
        assert_eq!(other, Told::Traced, "another place");
    }

    #[test]
    fn a_sample_that_was_left_out_is_told_as_a_repeat() {
        for caught in [Caught::Before, Caught::After, Caught::Never] {
            let start = clock::real();
            let mut groups = Groups::new();
            let record = Record::example(1, start);
            assert_ne!(groups.count(&record), Told::Repeat);

            if let Caught::Before = caught {
                record.set_fate(Fate::Contained);
                groups.contained(&record);
            }
            groups.left_out(&record);
            if let Caught::After = caught {
                record.set_fate(Fate::Contained);
                groups.contained(&record);
            }

            let (due, _) = groups.repeats(start + CLAIM_LIMIT, true);
            let contained = !matches!(caught, Caught::Never);
            assert_eq!((due[0].sum.count, due[0].sum.contained), (1, contained));
        }
    }

    enum Caught {
        Before,
        After,
        Never,
    }
}
