//! Who has asked for what he may not, or is not known: noted in the audit, and so seldom that a flood of it fills no table.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use steadfast::clock::Instant;

/// For how long no other of the same token and action is noted: a minute.
const EVERY: Duration = Duration::from_secs(60);

/// How many pairs of token and action are remembered: 1,000, more than there are of those who are mistaken.
const REMEMBERED_MAX: usize = 1_000;

/// How many addresses are that have said no token that is known: 20. Anybody can be one of them.
const STRANGERS_MAX: usize = 20;

/// When each pair of token and action was last noted, and how often it has come since.
type Noted = BTreeMap<(String, &'static str), (Instant, u64)>;

/// What was noted of them. Beyond `most`, nothing is noted until some are a minute old.
pub(super) struct Refusals {
    noted: Mutex<Noted>,
    most: usize,
}

impl Refusals {
    /// Of those who are known, and may not.
    pub(super) fn of_tokens() -> Self {
        Self::of(REMEMBERED_MAX)
    }

    /// Of those who are not known.
    pub(super) fn of_strangers() -> Self {
        Self::of(STRANGERS_MAX)
    }

    fn of(most: usize) -> Self {
        let noted = Mutex::default();
        Self { noted, most }
    }

    /// Tells whether a refusal is to be noted now: gives how many were not since the last one that was.
    pub(super) fn note(&self, now: Instant, actor: &str, action: &'static str) -> Option<u64> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (actor.to_owned(), action);
        if let Some((at, unnoted)) = noted.get_mut(&key) {
            if now.saturating_duration_since(*at) < EVERY {
                *unnoted += 1;
                return None;
            }
            *at = now;
            return Some(std::mem::take(unnoted));
        }
        if noted.len() == self.most {
            noted.retain(|_, (at, _)| now.saturating_duration_since(*at) < EVERY);
        }
        if noted.len() == self.most {
            return None;
        }
        noted.insert(key, (now, 0));
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use steadfast::clock;

    use super::*;

    #[test]
    fn of_a_flood_one_a_minute_is_noted_with_how_many_there_were() {
        let (refusals, start) = (Refusals::of_tokens(), clock::now());
        let at = |seconds| start + Duration::from_secs(seconds);

        assert_eq!(refusals.note(at(0), "ann", "jobs.run"), Some(0));
        for second in 1..60 {
            assert_eq!(refusals.note(at(second), "ann", "jobs.run"), None);
        }
        assert_eq!(refusals.note(at(1), "ann", "jobs.cancel"), Some(0));
        assert_eq!(refusals.note(at(1), "bob", "jobs.run"), Some(0));
        assert_eq!(refusals.note(at(60), "ann", "jobs.run"), Some(59));
    }

    #[test]
    fn no_more_are_remembered_than_may_be() {
        let (refusals, start) = (Refusals::of_tokens(), clock::now());
        for number in 0..REMEMBERED_MAX {
            assert!(
                refusals
                    .note(start, &number.to_string(), "jobs.run")
                    .is_some()
            );
        }

        assert_eq!(refusals.note(start, "one more", "jobs.run"), None);
        assert_eq!(
            refusals.note(start + EVERY, "one more", "jobs.run"),
            Some(0)
        );
    }
}
