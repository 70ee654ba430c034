//! Who has asked for what he may not: noted in the audit, and so seldom that a flood of it fills no table.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use steadfast::clock::Instant;

/// For how long no other of the same token and action is noted: a minute.
const EVERY: Duration = Duration::from_secs(60);

/// How many pairs of token and action are remembered: 1,000, more than there are of those who are mistaken. Beyond, nothing
/// is noted until some are a minute old.
const REMEMBERED_MAX: usize = 1_000;

/// When each pair of token and action was last noted, and how often it has come since.
type Noted = BTreeMap<(String, &'static str), (Instant, u64)>;

/// What was noted of them.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Noted>);

impl Refusals {
    /// Tells whether a refusal is to be noted now: gives how many were not since the last one that was.
    pub(super) fn note(&self, now: Instant, actor: &str, action: &'static str) -> Option<u64> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (actor.to_owned(), action);
        if let Some((at, unnoted)) = noted.get_mut(&key) {
            if now.saturating_duration_since(*at) < EVERY {
                *unnoted += 1;
                return None;
            }
            *at = now;
            return Some(std::mem::take(unnoted));
        }
        if noted.len() == REMEMBERED_MAX {
            noted.retain(|_, (at, _)| now.saturating_duration_since(*at) < EVERY);
        }
        if noted.len() == REMEMBERED_MAX {
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
        let (refusals, start) = (Refusals::default(), clock::now());
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
        let (refusals, start) = (Refusals::default(), clock::now());
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
