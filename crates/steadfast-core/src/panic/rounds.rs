use std::time::{Duration, Instant};

use super::record::Record;
use super::reporter::CLAIM_LIMIT;

/// After how long repeats are told: 1 s after the first of them.
const ROUND: Duration = Duration::from_secs(1);

/// How long a round takes repeats: so long that the fate of the last one, too, is known when the
/// round is told.
const OPEN_FOR: Duration = ROUND.saturating_sub(CLAIM_LIMIT);

/// The panics of one place that have no report of their own: told round by round, each once its
/// fate is known.
///
/// A single count would be told while the newest of a storm still unwind, as if nobody had caught
/// them.
pub(super) struct Rounds {
    last_number: u64,
    /// Takes repeats.
    open: Option<Round>,
    /// Takes no more, and waits to be told.
    closed: Option<Round>,
}

struct Round {
    number: u64,
    first: Instant,
    last: Instant,
    count: u64,
    /// How many of those no catch of ours has claimed.
    unclaimed: u64,
}

/// What there is to tell of one round.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) count: u64,
    /// Whether catches of ours had all of them.
    pub(super) contained: bool,
}

impl Rounds {
    pub(super) fn new() -> Self {
        Self {
            last_number: 0,
            open: None,
            closed: None,
        }
    }

    /// Adds a panic that was raised `at`.
    pub(super) fn add(&mut self, record: &Record, at: Instant, unclaimed: bool) {
        let full = |open: &Round| at.saturating_duration_since(open.first) >= OPEN_FOR;
        if self.closed.is_none() && self.open.as_ref().is_some_and(full) {
            self.closed = self.open.take();
        }
        let round = self.open.get_or_insert_with(|| {
            self.last_number += 1;
            Round {
                number: self.last_number,
                first: at,
                last: at,
                count: 0,
                unclaimed: 0,
            }
        });
        round.last = round.last.max(at);
        round.count += 1;
        round.unclaimed += u64::from(unclaimed);
        record.set_round(Some(round.number));
    }

    /// A catch has claimed a panic, which may be none of ours.
    pub(super) fn claimed(&mut self, record: &Record) {
        let again = record.raised_again();
        if let Some(round) = self.of(record) {
            round.unclaimed = round.unclaimed.saturating_sub(1);
            if again {
                // It was told before, and this time there is nothing to tell.
                round.count = round.count.saturating_sub(1);
                record.set_round(None);
            }
        }
    }

    /// A panic that was claimed is raised again: it is told from the beginning, or once more.
    pub(super) fn raised_again(&mut self, record: &Record, now: Instant) {
        match self.of(record) {
            Some(round) => round.count = round.count.saturating_sub(1),
            None => record.set_raised_again(),
        }
        self.add(record, now, true);
    }

    fn of(&mut self, record: &Record) -> Option<&mut Round> {
        let number = record.round()?;
        let mut rounds = [&mut self.open, &mut self.closed].into_iter().flatten();
        rounds.find(|round| round.number == number)
    }

    /// Gives what is to be told now, and when to look again if there is more to come. With `at_once`
    /// rounds end before their time, but not before the fate of their panics is known.
    pub(super) fn due(&mut self, now: Instant, at_once: bool) -> (Vec<Sum>, Option<Instant>) {
        let mut told = Vec::new();
        let mut next: Option<Instant> = None;
        for slot in [&mut self.closed, &mut self.open] {
            let Some(round) = slot else { continue };
            let over = at_once || now.saturating_duration_since(round.first) >= ROUND;
            let known =
                round.unclaimed == 0 || now.saturating_duration_since(round.last) >= CLAIM_LIMIT;
            if !(over && known) {
                if round.count > 0 {
                    // One that is over waits for catches, which may come at any moment.
                    let look = if over { now } else { round.first + ROUND };
                    next = Some(next.map_or(look, |next| next.min(look)));
                }
                continue;
            }
            if round.count > 0 {
                told.push(Sum {
                    count: round.count,
                    contained: round.unclaimed == 0,
                });
            }
            *slot = None;
        }
        (told, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    struct Place {
        start: Instant,
        rounds: Rounds,
    }

    impl Place {
        fn new() -> Self {
            Self {
                start: clock::real(),
                rounds: Rounds::new(),
            }
        }

        fn at(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn raise(&mut self, millis: u64) -> Record {
            let record = Record::example(1, self.at(millis));
            self.rounds.add(&record, record.since, true);
            record
        }

        #[track_caller]
        fn expect(&mut self, millis: u64, told: &[(u64, bool)], waiting: bool) {
            let (due, more) = self.rounds.due(self.at(millis), false);
            let due: Vec<_> = due
                .iter()
                .map(|told| (told.count, told.contained))
                .collect();
            assert_eq!((due.as_slice(), more.is_some()), (told, waiting));
        }
    }

    #[test]
    fn a_round_is_told_a_second_after_its_first_repeat() {
        let mut place = Place::new();
        place.expect(0, &[], false);
        for millis in [0, 100, 200] {
            let record = place.raise(millis);
            place.rounds.claimed(&record);
        }

        place.expect(999, &[], true);
        place.expect(1_000, &[(3, true)], false);
    }

    #[test]
    fn nobody_has_to_look_before_a_round_is_over() {
        let mut place = Place::new();
        let record = place.raise(100);

        let next = |place: &mut Place, millis| place.rounds.due(place.at(millis), false).1;
        assert_eq!(next(&mut place, 150), Some(place.at(1_100)));
        place.rounds.claimed(&record);
        assert_eq!(next(&mut place, 200), Some(place.at(1_100)));
        place.raise(900);
        // From then on catches may come at any moment.
        assert_eq!(next(&mut place, 1_099), Some(place.at(1_100)));
        place.expect(1_100, &[(1, true)], true);
    }

    #[test]
    fn what_still_unwinds_when_a_round_is_told_belongs_to_the_next() {
        let mut place = Place::new();
        let record = place.raise(0);
        place.rounds.claimed(&record);
        let on_its_way = place.raise(999);

        place.expect(1_000, &[(1, true)], true);
        place.rounds.claimed(&on_its_way);
        place.expect(1_999, &[(1, true)], false);
    }

    #[test]
    fn a_repeat_that_nobody_claims_is_told_within_a_second_of_its_raising() {
        for first in [0, 300, 599] {
            let mut place = Place::new();
            place.raise(first);
            let record = place.raise(599);
            place.rounds.claimed(&record);

            place.expect(first + 999, &[], true);
            place.expect(first + 1_000, &[(2, false)], false);
        }
    }

    #[test]
    fn the_end_of_a_process_tells_at_once_what_is_known_and_waits_for_the_rest() {
        let mut place = Place::new();
        let record = place.raise(0);

        let now = place.at(399);
        assert_eq!(place.rounds.due(now, true), (vec![], Some(now)));
        place.rounds.claimed(&record);
        let told = Sum {
            count: 1,
            contained: true,
        };
        assert_eq!(place.rounds.due(now, true), (vec![told], None));
    }

    #[test]
    fn a_repeat_that_is_raised_again_is_told_by_what_becomes_of_it_then() {
        let mut place = Place::new();
        let record = place.raise(0);
        place.rounds.claimed(&record);
        place.rounds.raised_again(&record, place.at(500));
        place.expect(1_000, &[(1, false)], false);

        // Told already: once more if nobody catches it, and never if somebody does.
        place.rounds.claimed(&record);
        for uncaught in [false, true, false, true] {
            place.rounds.raised_again(&record, place.at(2_000));
            if uncaught {
                place.expect(3_000, &[(1, false)], false);
            } else {
                place.rounds.claimed(&record);
                place.expect(3_000, &[], false);
            }
        }
    }
}
