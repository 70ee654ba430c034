//! One bucket that many threads share.

use std::time::Duration;

use super::quota::{Answer, Quota};
use crate::decide::atomic::{AtomicU64, Ordering};

/// Holds one quota for all who ask, without a lock.
///
/// The state is one instant in one atomic. An admission is one compare-and-swap, repeated if
/// another thread came between; somebody always gets on. A rejection writes nothing, so that a
/// flood of rejected requests does not make the threads fight over the cache line.
///
/// Each caller brings its own `now`. Threads whose clock reads lie a little apart need no care:
/// a caller with an older `now` is judged as of then, which is stricter, and nothing is counted
/// twice or forgotten.
#[derive(Debug)]
pub struct RateLimiter {
    quota: Quota,
    full_at: AtomicU64,
}

impl RateLimiter {
    /// Makes a limiter whose bucket is full.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self {
            quota,
            full_at: AtomicU64::new(0),
        }
    }

    /// Takes `cost` cells at `now`, or says when they will be there.
    ///
    /// A cost of zero takes nothing and tells how things stand. A rejected request takes
    /// nothing: clients that come too often are not punished beyond their quota.
    pub fn check(&self, now: u64, cost: u32) -> Answer {
        // Relaxed: the instant is the whole state, and no other memory is read in the belief that
        // it was written before it. Each read-modify-write sees the newest instant in any order.
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let (answer, taken) = self.quota.judge(full_at, now, cost);
            let Some(next) = taken.filter(|_| cost > 0) else {
                return answer;
            };
            match self.full_at.compare_exchange_weak(
                full_at,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return answer,
                Err(newer) => full_at = newer,
            }
        }
    }

    /// Makes the limiter that takes over under a changed quota.
    ///
    /// As many cells are missing in it as are here at `now`, though never more than its burst. What
    /// is taken here afterwards is not known there, so swap first and let the old one go.
    #[must_use]
    pub fn with_quota(&self, quota: Quota, now: u64) -> Self {
        let full_at = self.full_at.load(Ordering::Relaxed);
        Self {
            quota,
            full_at: AtomicU64::new(quota.carry_over(&self.quota, full_at, now)),
        }
    }

    /// Returns the quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// Returns the time from `now` until the bucket is full.
    #[must_use]
    pub fn reset(&self, now: u64) -> Duration {
        Duration::from_nanos(self.full_at.load(Ordering::Relaxed).saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn limiter(cells: u32, period: Duration, burst: u32) -> RateLimiter {
        RateLimiter::new(Quota::new(cells, period, burst).unwrap())
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let limiter = limiter(10, Duration::from_secs(1), 3);
        let pass: Vec<u64> = (0..=500)
            .filter(|ms| limiter.check(SECOND + ms * 1_000_000, 1).is_allowed())
            .collect();

        assert_eq!(pass, [0, 1, 2, 100, 200, 300, 400, 500]);
    }

    #[test]
    fn rejected_requests_take_nothing() {
        let limiter = limiter(1, Duration::from_secs(1), 1);
        assert!(limiter.check(0, 1).is_allowed());

        for step in 1..1_000 {
            assert!(!limiter.check(step * 1_000_000, 1).is_allowed());
        }

        assert!(limiter.check(SECOND, 1).is_allowed());
    }

    #[test]
    fn a_cost_of_zero_only_looks() {
        let limiter = limiter(1, Duration::from_secs(1), 2);
        limiter.check(0, 1);

        let looks = [limiter.check(0, 0), limiter.check(0, 0)];

        assert_eq!(looks.map(|answer| answer.remaining()), [1, 1]);
        assert_eq!(limiter.reset(0), Duration::from_secs(1));
    }

    #[test]
    fn a_changed_quota_does_not_hand_out_a_fresh_burst() {
        let old = limiter(1, Duration::from_secs(1), 10);
        for _ in 0..8 {
            assert!(old.check(0, 1).is_allowed());
        }

        let new = old.with_quota(Quota::new(1, Duration::from_secs(1), 9).unwrap(), 0);

        assert_eq!(new.check(0, 0).remaining(), 1);
    }

    #[test]
    fn threads_together_get_the_burst_and_no_more() {
        let limiter = limiter(1, Duration::from_secs(1), 1_000);

        let passed: usize = std::thread::scope(|scope| {
            let ask = || {
                (0..1_000)
                    .filter(|_| limiter.check(0, 1).is_allowed())
                    .count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });

        assert_eq!(passed, 1_000);
    }

    proptest! {
        #[test]
        fn no_window_lets_more_through_than_burst_and_rate(
            burst in 1..8_u32,
            requests in prop::collection::vec((0..30_000_u64, 1..4_u32), 1..80),
        ) {
            let cell = 10_000;
            let limiter = limiter(1, Duration::from_nanos(cell), burst);
            let mut taken: Vec<(u64, u64)> = Vec::new();
            let mut now = 0;

            for (step, cost) in requests {
                now += step;
                if limiter.check(now, cost).is_allowed() {
                    taken.push((now, u64::from(cost)));
                }
            }

            for (first, (from, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for (until, cost) in &taken[first..] {
                    sum += cost;
                    prop_assert!(sum <= u64::from(burst) + (until - from) / cell);
                }
            }
        }

        #[test]
        fn who_keeps_to_the_rate_is_never_rejected(
            burst in 1..8_u32,
            cell in 1_000..1_000_000_u64,
            late in prop::collection::vec(0..3_000_u64, 1..80),
        ) {
            let limiter = limiter(1, Duration::from_nanos(cell), burst);
            let mut now = 0;

            for late in late {
                prop_assert!(limiter.check(now, 1).is_allowed());
                now += cell + late;
            }
        }

        #[test]
        fn instants_in_any_order_never_open_the_bucket_wider(
            instants in prop::collection::vec(0..100_000_u64, 1..80),
        ) {
            let (cell, burst) = (10_000, 3);
            let limiter = limiter(1, Duration::from_nanos(cell), burst);

            let passed = instants.iter().filter(|&&at| limiter.check(at, 1).is_allowed()).count();

            let latest = instants.iter().max().unwrap();
            prop_assert!(passed as u64 <= u64::from(burst) + latest / cell);
        }
    }
}
