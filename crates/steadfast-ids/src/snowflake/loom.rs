//! Every interleaving of threads that take ids.

use std::sync::Arc;

use loom::thread;

use super::{Layout, LayoutConfig, Refused, Snowflake};

const TICK_NS: u64 = 1_000_000;

fn layout() -> Layout {
    Layout::new(LayoutConfig {
        worker_bits: 21,
        sequence_bits: 1,
        ..LayoutConfig::default()
    })
    .unwrap()
}

#[test]
fn no_two_threads_get_one_id_and_each_gets_rising_ones() {
    loom::model(|| {
        let ids = Arc::new(Snowflake::new(layout(), 1, 9 * TICK_NS, 0).unwrap());
        let threads: Vec<_> = [(10, 10), (10, 11)]
            .into_iter()
            .map(|(first, second)| {
                let ids = ids.clone();
                thread::spawn(move || [ids.next(first * TICK_NS), ids.next(second * TICK_NS)])
            })
            .collect();

        let mut all = Vec::new();
        for thread in threads {
            let taken = thread.join().unwrap().map(Result::unwrap);
            assert!(taken[0] < taken[1]);
            all.extend(taken);
        }

        all.sort();
        all.dedup();
        assert_eq!(all.len(), 4);
    });
}

#[test]
fn the_lead_is_kept_whoever_comes_first() {
    loom::model(|| {
        // Room for two: one tick of two, and no lead.
        let ids = Arc::new(Snowflake::new(layout(), 1, 0, 0).unwrap());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let ids = ids.clone();
                thread::spawn(move || ids.batch(TICK_NS, 2).map(|batch| batch.len()))
            })
            .collect();

        let taken: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();

        let ahead = Err(Refused::Ahead {
            until_ns: 2 * TICK_NS,
        });
        assert_eq!(taken.iter().filter(|taken| **taken == Ok(2)).count(), 1);
        assert_eq!(taken.iter().filter(|taken| **taken == ahead).count(), 1);
    });
}
