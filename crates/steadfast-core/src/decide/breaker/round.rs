//! The books of a round of half-open: which probes are under way, and what they have shown.

use super::answer::TripReason;
use super::config::{BreakerConfig, reaches};
use crate::decide::atomic::{AtomicU64, Ordering};

/// The books of the newest round, which many threads keep.
#[derive(Debug)]
pub(super) struct Books(AtomicU64);

/// What is in the books, in one word: whoever writes it writes all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probes {
    pub(super) round: u16,
    /// Permits taken, without the ones that were given back.
    pub(super) issued: u32,
    /// Probes that ended; of those, how many failed, and how many were slow.
    pub(super) ended: u32,
    failed: u32,
    slow: u32,
}

/// What came of the wish for a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Permit,
    /// All are taken.
    None,
    /// There is a newer round.
    Over,
}

/// What a round has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    Undecided,
    Good,
    Bad(TripReason),
}

const COUNT_BITS: u32 = 12;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

const _: () = assert!(BreakerConfig::MAX_PROBES as u64 <= COUNT);

// === impl Books ===

impl Books {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(Probes::new(0).pack()))
    }

    pub(super) fn copy(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }

    /// Takes one of `most` permits of a round.
    pub(super) fn take(&self, round: u16, most: u32) -> Taken {
        let mut full = false;
        let taken = self.change(round, |probes| {
            full = probes.issued >= most;
            Probes {
                issued: probes.issued + u32::from(!full),
                ..probes
            }
        });
        match taken {
            None => Taken::Over,
            Some(_) if full => Taken::None,
            Some(_) => Taken::Permit,
        }
    }

    /// Gives a permit back that was taken in a round.
    pub(super) fn give_back(&self, round: u16) {
        self.change(round, |probes| Probes {
            issued: probes.issued.saturating_sub(1),
            ..probes
        });
    }

    /// Counts a probe that ended, and returns what is known with it, or `None` if the round is over.
    pub(super) fn end(&self, round: u16, failed: bool, slow: bool) -> Option<Probes> {
        self.change(round, |probes| Probes {
            ended: probes.ended + 1,
            failed: probes.failed + u32::from(failed),
            slow: probes.slow + u32::from(slow),
            ..probes
        })
    }

    /// Returns the books of a round, which are empty if nobody has begun them.
    pub(super) fn of(&self, round: u16) -> Probes {
        Probes::of(self.0.load(Ordering::Relaxed), round).unwrap_or(Probes::new(round))
    }

    /// Changes the books of a round and returns them, or `None` if there is a newer round.
    fn change(&self, round: u16, mut change: impl FnMut(Probes) -> Probes) -> Option<Probes> {
        // Relaxed: the word is all there is, and says itself which round it is about.
        let relaxed = Ordering::Relaxed;
        let mut word = self.0.load(relaxed);
        loop {
            let to = change(Probes::of(word, round)?);
            match self
                .0
                .compare_exchange_weak(word, to.pack(), relaxed, relaxed)
            {
                Ok(_) => return Some(to),
                Err(newer) => word = newer,
            }
        }
    }
}

// === impl Probes ===

impl Probes {
    fn new(round: u16) -> Self {
        Self {
            round,
            issued: 0,
            ended: 0,
            failed: 0,
            slow: 0,
        }
    }

    /// Reads a word as the books of a round, or `None` if it is about a newer one.
    fn of(word: u64, round: u16) -> Option<Self> {
        let seen = Self::unpack(word);
        if seen.round == round {
            Some(seen)
        } else {
            (!is_newer(seen.round, round)).then(|| Self::new(round))
        }
    }

    /// Judges a round of `all` probes, as soon as those that are missing could not turn it.
    pub(super) fn judge(self, config: &BreakerConfig, all: u32) -> Round {
        // The policy may have asked for more of them when they were issued.
        let all = all.max(self.ended);
        let missing = all - self.ended;
        let slow_ppm = config.slow.map(|slow| slow.ppm);
        let rules = [
            (self.failed, Some(config.probe_ppm())),
            (self.slow, slow_ppm),
        ];
        let reached = |more: u32| {
            let mut rules = rules.iter();
            rules.any(|(bad, ppm)| ppm.is_some_and(|ppm| reaches(bad + more, all, ppm)))
        };
        if reached(0) {
            Round::Bad(TripReason::Probes {
                failed: self.failed,
                slow: self.slow,
                ended: self.ended,
            })
        } else if reached(missing) {
            Round::Undecided
        } else {
            Round::Good
        }
    }

    fn pack(self) -> u64 {
        let counts = [self.issued, self.ended, self.failed, self.slow];
        counts.iter().fold(u64::from(self.round), |word, count| {
            word << COUNT_BITS | u64::from(*count).min(COUNT)
        })
    }

    fn unpack(word: u64) -> Self {
        let count = |place: u32| (word >> (place * COUNT_BITS) & COUNT) as u32;
        Self {
            round: (word >> (4 * COUNT_BITS)) as u16,
            issued: count(3),
            ended: count(2),
            failed: count(1),
            slow: count(0),
        }
    }
}

/// Says whether one number of a round comes after another one.
fn is_newer(round: u16, than: u16) -> bool {
    round.wrapping_sub(than) as i16 > 0
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_round_is_newer_than_the_ones_before_it_also_where_the_number_wraps() {
        assert!(is_newer(1, 0) && !is_newer(0, 1) && !is_newer(5, 5));
        assert!(is_newer(0, u16::MAX) && !is_newer(u16::MAX, 0));
    }

    #[test]
    fn books_of_an_older_round_are_replaced_and_never_come_back() {
        let books = Books::new();
        assert_eq!(books.take(1, 1), Taken::Permit);
        assert_eq!(books.take(1, 1), Taken::None);

        assert_eq!(books.take(2, 1), Taken::Permit);

        assert_eq!(books.take(1, 9), Taken::Over);
        assert_eq!(books.end(1, true, true), None);
        books.give_back(1);
        assert_eq!(books.of(2).issued, 1);
    }

    #[test]
    fn a_round_is_judged_as_soon_as_the_missing_probes_could_not_turn_it() {
        let config = BreakerConfig::new().with_failure_share(0.25).unwrap();
        let both = config.with_slow(Duration::from_secs(1), 0.5).unwrap();
        let check = |config: &BreakerConfig, ended, failed, slow, expect: &str| {
            let books = Books::new();
            for n in 0..ended {
                books.end(1, n < failed, n < slow);
            }
            let verdict = format!("{:?}", books.of(1).judge(config, 10));
            assert!(
                verdict.starts_with(expect),
                "{ended} {failed} {slow}: {verdict}"
            );
        };

        check(&config, 0, 0, 0, "Undecided");
        check(&config, 7, 0, 0, "Undecided");
        check(&config, 8, 0, 0, "Good");
        check(&config, 10, 2, 9, "Good");
        check(&config, 9, 2, 0, "Undecided");
        check(&config, 3, 3, 0, "Bad");
        check(&both, 5, 0, 5, "Bad");
        check(&both, 10, 2, 4, "Good");
        check(&both, 11, 0, 0, "Good");
    }

    #[test]
    fn without_a_failure_share_half_of_the_probes_decide() {
        let config = BreakerConfig::new().with_consecutive(5).unwrap();
        let of = |failed| {
            let books = Books::new();
            for n in 0..10 {
                books.end(1, n < failed, false);
            }
            books.of(1).judge(&config, 10)
        };

        assert_eq!(of(4), Round::Good);
        assert!(matches!(of(5), Round::Bad(_)));
    }

    proptest! {
        #[test]
        fn a_word_gives_back_what_was_packed(word: u64) {
            prop_assert_eq!(Probes::unpack(word).pack(), word);
        }

        #[test]
        fn a_verdict_stands_whatever_the_missing_probes_show(
            ppm in 1..=1_000_000_u32,
            ends in prop::collection::vec((any::<bool>(), any::<bool>()), 1..20),
        ) {
            let share = f64::from(ppm) / 1e6;
            let config = BreakerConfig::new()
                .with_failure_share(share)
                .unwrap()
                .with_slow(Duration::from_secs(1), share)
                .unwrap();
            let all = ends.len() as u32;
            let books = Books::new();
            let mut first = Round::Undecided;

            for (failed, slow) in ends {
                let verdict = books.end(1, failed, slow).unwrap().judge(&config, all);
                match first {
                    Round::Undecided => first = verdict,
                    Round::Good => prop_assert_eq!(verdict, Round::Good),
                    Round::Bad(_) => prop_assert!(matches!(verdict, Round::Bad(_))),
                }
            }

            prop_assert_ne!(first, Round::Undecided, "all probes decide");
        }
    }
}
