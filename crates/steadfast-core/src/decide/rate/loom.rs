//! Every interleaving of a few threads over one bucket.

use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use super::{Quota, RateLimiter};

const CELL: u64 = 1_000;

fn limiter(burst: u32) -> Arc<RateLimiter> {
    let quota = Quota::new(1, Duration::from_nanos(CELL), burst).unwrap();
    Arc::new(RateLimiter::new(quota))
}

/// Runs a thread for each instant and returns how many passed.
fn ask_at(limiter: &Arc<RateLimiter>, instants: &[u64]) -> usize {
    let threads: Vec<_> = instants
        .iter()
        .map(|&now| {
            let limiter = limiter.clone();
            thread::spawn(move || limiter.check(now, 1).is_allowed())
        })
        .collect();
    threads
        .into_iter()
        .filter_map(|thread| thread.join().unwrap().then_some(()))
        .count()
}

#[test]
fn exactly_the_burst_passes_at_one_instant() {
    loom::model(|| {
        let limiter = limiter(2);

        let passed = ask_at(&limiter, &[0, 0, 0]);

        assert_eq!(passed, 2);
        assert_eq!(limiter.reset(0), Duration::from_nanos(2 * CELL));
    });
}

#[test]
fn an_older_instant_neither_frees_nor_loses_cells() {
    loom::model(|| {
        let limiter = limiter(1);

        let passed = ask_at(&limiter, &[0, CELL]);

        // The later one always passes; the older one only if it comes first.
        let full_at = limiter.reset(0);
        assert!(passed == 2 || passed == 1);
        assert_eq!(full_at, Duration::from_nanos(2 * CELL));
    });
}

#[test]
fn every_cell_that_was_taken_is_missing() {
    loom::model(|| {
        let limiter = limiter(3);
        let other = limiter.clone();

        let twice = thread::spawn(move || other.check(0, 2).is_allowed());
        let once = limiter.check(0, 1).is_allowed();
        let twice = twice.join().unwrap();

        assert!(once && twice, "all fit");
        assert_eq!(limiter.check(0, 0).remaining(), 0);
    });
}
