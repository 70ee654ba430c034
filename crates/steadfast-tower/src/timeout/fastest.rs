use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long one of the two windows is: 10 s, so that what is known is 10 to 20 s old, as old as what
/// a learned timeout knows.
const WINDOW_NS: u64 = 10_000_000_000;

/// How many answers both windows need before the fastest of them means anything: 20. Of fewer, the
/// next one is too often faster.
const ANSWERS_MIN: u64 = 20;

/// The fastest answer of the last seconds: whoever has less time than that cannot be served.
///
/// It forgets by itself, so a time that became too long because nobody was let in any more does not
/// stay. Threads that open a window at the same moment may lose an answer, which makes the fastest
/// one slower for those ten seconds.
#[derive(Debug, Default)]
pub(super) struct Fastest {
    windows: [Window; 2],
}

#[derive(Debug)]
struct Window {
    /// Which one it is, counted from the origin of the clock.
    number: AtomicU64,
    answers: AtomicU64,
    fastest_ns: AtomicU64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            number: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            // Whatever comes is faster.
            fastest_ns: AtomicU64::new(u64::MAX),
        }
    }
}

impl Fastest {
    pub(super) fn note(&self, took: Duration, now: u64) {
        let number = now / WINDOW_NS;
        let window = &self.windows[(number % 2) as usize];
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let known = window.number.load(Ordering::Acquire);
        let begins = known != number
            && window
                .number
                .compare_exchange(known, number, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok();
        if begins {
            window.fastest_ns.store(took, Ordering::Relaxed);
            window.answers.store(1, Ordering::Relaxed);
            return;
        }
        // Nearly every answer is one that says nothing new: threads then only read what they share.
        if took < window.fastest_ns.load(Ordering::Relaxed) {
            window.fastest_ns.fetch_min(took, Ordering::Relaxed);
        }
        if window.answers.load(Ordering::Relaxed) < ANSWERS_MIN {
            window.answers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives it, once enough is known.
    pub(super) fn get(&self, now: u64) -> Option<Duration> {
        let number = now / WINDOW_NS;
        let windows = self.windows.iter();
        let recent = windows.filter(|window| {
            let age = number.checked_sub(window.number.load(Ordering::Acquire));
            age.is_some_and(|age| age <= 1)
        });
        let mut answers = 0;
        let mut fastest = u64::MAX;
        for window in recent {
            answers += window.answers.load(Ordering::Relaxed);
            fastest = fastest.min(window.fastest_ns.load(Ordering::Relaxed));
        }
        (answers >= ANSWERS_MIN).then(|| Duration::from_nanos(fastest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_fastest_of_enough_answers_is_known_and_forgotten_again() {
        let (fastest, start) = (Fastest::default(), 5 * WINDOW_NS);
        for n in 1..20 {
            fastest.note(n * 10 * MS, start);
            assert_eq!(fastest.get(start), None, "{n} answers say nothing");
        }
        fastest.note(50 * MS, start);

        assert_eq!(fastest.get(start), Some(10 * MS));
        assert_eq!(fastest.get(start + 2 * WINDOW_NS - 1), Some(10 * MS));
        assert_eq!(fastest.get(start + 2 * WINDOW_NS), None);
        // One more of a later window does not bring the others back.
        fastest.note(MS, start + 2 * WINDOW_NS);
        assert_eq!(fastest.get(start + 2 * WINDOW_NS), None);
    }

    #[test]
    fn a_window_without_answers_says_nothing() {
        let fastest = Fastest::default();
        assert_eq!(fastest.get(0), None);

        // The process has just started, and both windows are of that time.
        for _ in 0..20 {
            fastest.note(10 * MS, WINDOW_NS - 1);
        }

        assert_eq!(fastest.get(WINDOW_NS), Some(10 * MS));
    }
}
