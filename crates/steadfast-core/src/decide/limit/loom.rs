//! Every interleaving of samples with somebody who takes them.

use std::sync::Arc;

use loom::thread;

use super::{Tally, Totals};

#[test]
fn each_sample_is_taken_once_with_its_own_time() {
    loom::model(|| {
        let tally = Arc::new(Tally::new());
        let writers: Vec<_> = [(256, false), (1_024, false)]
            .into_iter()
            .map(|(rtt, dropped)| {
                let tally = tally.clone();
                thread::spawn(move || tally.record(rtt, 1, dropped))
            })
            .collect();

        let early = tally.take();
        for writer in writers {
            writer.join().unwrap();
        }
        let late = tally.take();

        assert!(matches!(
            (early.samples, early.rtt_ns),
            (0, 0) | (1, 256 | 1_024) | (2, 1_280)
        ));
        let mut all = early;
        all.add(late);
        assert_eq!(
            all,
            Totals {
                samples: 2,
                rtt_ns: 1_280,
                dropped: 0,
                peak: 1
            }
        );
    });
}

#[test]
fn a_drop_beside_a_sample_is_counted_beside_it() {
    loom::model(|| {
        let tally = Arc::new(Tally::new());
        let other = tally.clone();

        let dropped = thread::spawn(move || other.record(9_999, 5, true));
        tally.record(512, 7, false);
        dropped.join().unwrap();

        assert_eq!(
            tally.take(),
            Totals {
                samples: 1,
                rtt_ns: 512,
                dropped: 1,
                peak: 7
            }
        );
    });
}
