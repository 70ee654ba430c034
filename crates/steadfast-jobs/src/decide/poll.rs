//! When to ask the store for jobs again, when it had none.
//!
//! Push wake-ups get lost: between COMMIT and NOTIFY, in a pooler, with the connection. So a node
//! polls as well, and the poll is the promise: soon after there was work, and seldom when there is
//! none for long. Each answer without a job doubles the wait, from [`FLOOR`] to [`CEILING`]; a job
//! or a wake-up takes it back to the floor. The waits are jittered by a tenth, or nodes that were
//! started together would ask together.

use std::time::Duration;

/// The first wait: 50 ms, so that a burst with small gaps is served without wake-ups.
pub const FLOOR: Duration = Duration::from_millis(50);

/// The longest wait: 2 s. A lost wake-up costs at most that, and 1,000 idle nodes ask 500 times
/// a second.
pub const CEILING: Duration = Duration::from_secs(2);

/// Counts the answers without a job.
#[derive(Debug, Clone, Copy, Default)]
pub struct Poll {
    empty: u32,
}

impl Poll {
    /// Notes that there were jobs, or that there may be some.
    pub fn found(&mut self) {
        self.empty = 0;
    }

    /// Notes that there was none; gives how long to wait. `random` are 64 uniform bits.
    pub fn nothing(&mut self, random: u64) -> Duration {
        let floor = FLOOR.as_nanos() as u64;
        let ceiling = CEILING.as_nanos() as u64;
        let wait = floor.saturating_mul(1 << self.empty.min(16)).min(ceiling);
        self.empty = self.empty.saturating_add(1);
        let jitter = ((u128::from(random) * u128::from(wait / 10)) >> 64) as u64;
        Duration::from_nanos(wait - jitter)
    }
}

/// Gives how long to wait before something that is done every so often: up to a fifth less, by `random`,
/// 64 uniform bits.
///
/// A database or a network that stands still for a moment answers everybody at once. Nodes that
/// waited for the same time from then on would ask in step for ever.
pub fn apart(every: Duration, random: u64) -> Duration {
    let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
    let sooner = ((u128::from(random) * u128::from(every / 5)) >> 64) as u64;
    Duration::from_nanos(every - sooner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_the_floor_to_the_ceiling() {
        let mut poll = Poll::default();

        let waits: Vec<u128> = (0..8).map(|_| poll.nothing(0).as_millis()).collect();

        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
    }

    #[test]
    fn a_job_takes_the_wait_back_to_the_floor() {
        let mut poll = Poll::default();
        for _ in 0..100 {
            poll.nothing(0);
        }

        poll.found();

        assert_eq!(poll.nothing(0), FLOOR);
    }

    #[test]
    fn jitter_only_shortens_and_by_a_tenth_at_most() {
        let mut poll = Poll::default();
        for _ in 0..100 {
            let wait = poll.nothing(u64::MAX);
            assert!(wait <= CEILING && wait >= FLOOR * 9 / 10);
        }
        assert!(poll.nothing(u64::MAX) >= CEILING * 9 / 10);
    }
    #[test]
    fn what_is_done_every_so_often_comes_sooner_by_a_fifth_at_most() {
        let every = Duration::from_secs(1);

        assert_eq!(apart(every, 0), every);
        assert_eq!(apart(every, u64::MAX / 2 + 1), Duration::from_millis(900));
        assert!(apart(every, u64::MAX) >= Duration::from_millis(800));
    }
}
