//! Counting what may come in storms, so that a storm of it is no storm of log lines.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often the log tells of one and the same: once a second.
const TELL_EVERY: u64 = 1_000_000_000;

/// Counts all, and says when it is time to tell.
#[derive(Debug, Default)]
pub(crate) struct Count {
    total: AtomicU64,
    untold: AtomicU64,
    /// From when on the next one is told.
    next: AtomicU64,
}

impl Count {
    /// Counts one; gives how many there were since the last told one if it is time to tell.
    pub(crate) fn add(&self, now: u64) -> Option<u64> {
        self.total.fetch_add(1, Ordering::Relaxed);
        self.untold.fetch_add(1, Ordering::Relaxed);
        let next = self.next.load(Ordering::Relaxed);
        if now < next {
            return None;
        }
        // Of several at the same moment one tells; the count of the others is in its line or in
        // the next.
        let after = now.saturating_add(TELL_EVERY);
        self.next
            .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed)
            .ok()?;
        Some(self.untold.swap(0, Ordering::Relaxed))
    }

    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_then_one_a_second_with_the_number_since() {
        let count = Count::default();

        let told: Vec<_> = [5, 6, 7, TELL_EVERY + 5, TELL_EVERY + 6, 3 * TELL_EVERY]
            .map(|now| count.add(now))
            .into();

        assert_eq!(told, [Some(1), None, None, Some(3), None, Some(2)]);
        assert_eq!(count.total(), 6);
    }
}
