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

#[test]
fn what_is_closed_makes_no_id_behind_what_it_told() {
    loom::model(|| {
        let ids = Arc::new(Snowflake::reserved(layout(), 1, 9 * TICK_NS, 0, 99 * TICK_NS).unwrap());
        let thread = {
            let ids = ids.clone();
            thread::spawn(move || [ids.next(10 * TICK_NS), ids.next(11 * TICK_NS)])
        };

        let end = ids.close().unwrap();

        for taken in thread.join().unwrap() {
            match taken {
                Ok(id) => {
                    let time = layout().decode(id).unwrap().time.unix_millis();
                    assert!(((time - Layout::EPOCH_UNIX_MS) as u64) * TICK_NS < end);
                }
                Err(refused) => assert_eq!(refused, Refused::Closed),
            }
        }
        assert_eq!(ids.next(12 * TICK_NS), Err(Refused::Closed));
    });
}

#[test]
fn nothing_is_taken_beyond_what_is_reserved_while_more_is() {
    loom::model(|| {
        // A tick of two is reserved, and then another: for the last of three there is nothing.
        let ids =
            Arc::new(Snowflake::reserved(layout(), 1, 9 * TICK_NS, TICK_NS, 2 * TICK_NS).unwrap());
        let take = |ids: &Snowflake| ids.batch(TICK_NS, 2).map(|batch| batch.len());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let ids = ids.clone();
                thread::spawn(move || take(&ids))
            })
            .collect();

        let mut taken = vec![take(&ids)];
        ids.reserve(3 * TICK_NS);

        taken.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
        let got = taken.iter().filter(|taken| **taken == Ok(2)).count();
        assert!((1..=2).contains(&got), "{taken:?}");
        assert!(
            taken
                .iter()
                .all(|taken| matches!(taken, Ok(2) | Err(Refused::Beyond))),
            "{taken:?}"
        );
    });
}
