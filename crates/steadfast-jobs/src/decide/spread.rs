//! How fast what dead nodes held is put back to work.
//!
//! A node that dies leaves up to some thousand jobs. Given back all at once they hit everything that
//! they depend on in the same moment, which may be what the node died of. Held back evenly for two
//! seconds, a single job waits for nothing. So they come back in waves: the first is small and comes
//! at once, each later one is twice as large and follows after [`EVERY`]. A thousand are back after
//! half a second, and [`WAVES`] waves, which take less than two seconds, are more than there can be.

use std::time::Duration;

/// The first wave: 25 jobs, which no dependency should mind.
pub const FIRST: usize = 25;

/// The time between two waves: 100 ms.
pub const EVERY: Duration = Duration::from_millis(100);

/// After how many waves whatever is left follows in one: 19, or 1.9 s. 25 jobs doubled that often
/// are 13 million.
pub const WAVES: u32 = 19;

/// Counts waves.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spread {
    done: u32,
}

impl Spread {
    /// Begins with the first wave.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells how many jobs the next wave has.
    pub fn wave(&self) -> usize {
        if self.done >= WAVES {
            return usize::MAX;
        }
        FIRST << self.done
    }

    /// Notes that a wave took `taken` jobs; gives how long to wait for the next one, or nothing when
    /// there are no more.
    pub fn took(&mut self, taken: usize) -> Option<Duration> {
        if taken < self.wave() {
            self.done = 0;
            return None;
        }
        self.done += 1;
        Some(EVERY)
    }

    /// Tells whether another wave is to follow.
    pub fn is_under_way(&self) -> bool {
        self.done > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts jobs back; gives how many each wave had and how long it took.
    fn put_back(mut left: usize) -> (Vec<usize>, Duration) {
        let (mut spread, mut waves, mut took) = (Spread::new(), Vec::new(), Duration::ZERO);
        loop {
            let taken = left.min(spread.wave());
            left -= taken;
            waves.push(taken);
            match spread.took(taken) {
                Some(wait) => took += wait,
                None => break,
            }
            assert!(spread.is_under_way());
        }
        assert!(!spread.is_under_way() && left == 0);
        (waves, took)
    }

    #[test]
    fn a_few_come_back_at_once() {
        assert_eq!(put_back(0), (vec![0], Duration::ZERO));
        assert_eq!(put_back(24), (vec![24], Duration::ZERO));
    }

    #[test]
    fn many_come_back_in_waves_that_double() {
        let (waves, took) = put_back(1_000);

        assert_eq!(waves, [25, 50, 100, 200, 400, 225]);
        assert_eq!(took, EVERY * 5);
    }

    #[test]
    fn however_many_there_are_they_are_back_within_two_seconds() {
        for left in [100_000, 13_000_000, 500_000_000] {
            assert!(put_back(left).1 <= Duration::from_secs(2));
        }
    }
}
