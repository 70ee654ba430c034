//! How far a replica is behind, from where it is in the log (pure).

use std::collections::VecDeque;
use std::time::Duration;

use steadfast_core::decide::batch::Lag;

/// How many positions are remembered: 1,024, one and a half minutes of looks. When there are more, every second one is
/// forgotten, and fewer are taken: what is far behind is told to within a five-hundredth.
const POSITIONS_MAX: usize = 1_024;

/// Knows when the log was where, and so how old the first write is that a replica does not have.
///
/// What the server says about lag by itself is what replicas have told about themselves, and one whose worker waits
/// for a lock tells nothing: its last answer stays, however long ago that was.
///
/// Time is nanoseconds of one monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Positions {
    seen: VecDeque<(i64, u64)>,
    /// How far apart they are at least.
    gap_ns: u64,
}

impl Positions {
    /// Notes that the log was here at `now`.
    pub(super) fn note(&mut self, position: i64, now: u64) {
        match self.seen.back() {
            // Another server: its log is another one.
            Some((last, _)) if *last > position => *self = Self::default(),
            Some((last, at)) if *last == position || now - at < self.gap_ns => return,
            _ => {}
        }
        self.seen.push_back((position, now));
        if let Some((_, first)) = self
            .seen
            .front()
            .filter(|_| self.seen.len() > POSITIONS_MAX)
        {
            self.gap_ns = (now - first) / (POSITIONS_MAX as u64 / 2);
            let mut at = 0;
            self.seen.retain(|_| {
                at += 1;
                at % 2 == 1
            });
        }
    }

    /// Gives the age of the first write that a replica does not have which is at `replayed`. Of one that has not come to where
    /// the log was at the first look it is not known: that write is older.
    pub(super) fn lag(&mut self, replayed: i64, now: u64) -> Lag {
        let missing = self
            .seen
            .partition_point(|(position, _)| *position <= replayed);
        let lag = self
            .seen
            .get(missing)
            .map_or(0, |(_, at)| now.saturating_sub(*at));
        // All others are behind this one too, or will be.
        self.seen.drain(..missing.saturating_sub(1));
        if self.seen.len() < POSITIONS_MAX / 16 {
            self.gap_ns = 0;
        }
        match missing {
            0 => Lag::AtLeast(Duration::from_nanos(lag)),
            _ => Lag::Known(Duration::from_nanos(lag)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn seconds(positions: &mut Positions, replayed: i64, now: u64) -> u64 {
        match positions.lag(replayed, now * SECOND) {
            Lag::Known(lag) => lag.as_secs(),
            lag => panic!("{lag:?} is not known"),
        }
    }

    fn at_least(seconds: u64) -> Lag {
        Lag::AtLeast(Duration::from_secs(seconds))
    }

    /// A process that starts does not know since when a replica is behind.
    #[test]
    fn a_replica_before_the_first_look_is_behind_for_longer_than_is_known() {
        let mut positions = Positions::default();
        positions.note(1_000, 10 * SECOND);

        assert_eq!(positions.lag(1, 10 * SECOND), at_least(0));
        positions.note(1_100, 11 * SECOND);
        assert_eq!(positions.lag(999, 13 * SECOND), at_least(3));
        assert_eq!(seconds(&mut positions, 1_000, 13), 2);
        // Another one comes, from before all that is remembered.
        positions.note(1_200, 12 * SECOND);
        assert_eq!(seconds(&mut positions, 1_150, 15), 3);
        assert_eq!(positions.lag(900, 15 * SECOND), at_least(4));
    }

    #[test]
    fn a_replica_is_behind_since_the_first_write_that_it_lacks() {
        let mut positions = Positions::default();
        for second in 1..=10 {
            positions.note(second as i64 * 100, second * SECOND);
        }

        assert_eq!(seconds(&mut positions, 300, 10), 6);
        assert_eq!(seconds(&mut positions, 399, 12), 8);
        assert_eq!(seconds(&mut positions, 400, 12), 7);
        assert_eq!(seconds(&mut positions, 1_000, 12), 0);
        // Nothing is written, and nothing is behind.
        assert_eq!(seconds(&mut positions, 1_000, 100), 0);
        positions.note(1_000, 100 * SECOND);
        positions.note(1_001, 101 * SECOND);
        assert_eq!(seconds(&mut positions, 1_000, 103), 2);
    }

    #[test]
    fn another_server_begins_anew() {
        let mut positions = Positions::default();
        positions.note(1_000, SECOND);
        positions.note(10, 2 * SECOND);

        assert_eq!(positions.lag(5, 5 * SECOND), at_least(3));
        assert_eq!(seconds(&mut positions, 10, 5), 0);
    }

    #[test]
    fn a_replica_that_stands_still_for_long_is_as_far_behind_as_it_is() {
        let mut positions = Positions::default();
        for second in 0..100_000 {
            positions.note(second as i64, second * SECOND);
            assert!(positions.seen.len() <= POSITIONS_MAX);
        }

        for behind in [100_000, 60_000, 5_000] {
            let lag = seconds(&mut positions, 100_000 - behind as i64, 100_000);
            assert!((behind - 400..=behind).contains(&lag), "{lag}");
        }
        assert_eq!(seconds(&mut positions, 99_999, 100_000), 0);
        positions.note(100_000, 100_000 * SECOND);
        assert_eq!(seconds(&mut positions, 99_999, 100_003), 3);
    }
}
