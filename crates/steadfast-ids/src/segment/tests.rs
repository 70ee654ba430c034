use proptest::prelude::*;
use steadfast_core::decide::backoff::Jitter;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn config() -> SegmentsConfig {
    let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8)).unwrap();
    SegmentsConfig {
        step_min: 10,
        step_max: 80,
        lasts: Duration::from_secs(60),
        backoff: backoff.with_jitter(Jitter::None),
    }
}

/// A counter as a store has it.
struct Store(u64);

impl Store {
    fn give(&mut self, fetch: Fetch) -> Range<u64> {
        let start = self.0;
        self.0 += fetch.step;
        start..self.0
    }
}

#[test]
fn ids_are_dense_across_ranges_and_the_next_range_is_there_in_time() {
    let (mut ids, mut store) = (Segments::new(config()).unwrap(), Store(1));

    for expect in 1..=200 {
        let now = expect * SECOND;
        while let Some(fetch) = ids.fetch(now) {
            ids.fetched(now, store.give(fetch)).unwrap();
        }
        assert_eq!(ids.next(now).unwrap().get(), expect);
        assert!(ids.left() > 0, "nobody ever waits");
    }
}

#[test]
fn without_the_store_the_last_id_is_served_and_then_an_error_at_once() {
    let (mut ids, mut store) = (Segments::new(config()).unwrap(), Store(1));
    for _ in 0..2 {
        let fetch = ids.fetch(0).unwrap();
        ids.fetched(0, store.give(fetch)).unwrap();
    }

    for expect in 1..=20 {
        assert_eq!(ids.next(0).unwrap().get(), expect);
        if ids.fetch(0).is_some() {
            ids.failed(0, 0);
        }
    }

    assert!(ids.next(0).is_err());
    assert!(
        ids.fetch(SECOND - 1).is_none(),
        "a backoff after the failed one"
    );
    let fetch = ids.fetch(SECOND).unwrap();
    assert!(ids.next(SECOND).is_err(), "on its way, not there");
    ids.fetched(SECOND, store.give(fetch)).unwrap();
    assert_eq!(ids.next(SECOND).unwrap().get(), 21);
}

#[test]
fn one_fetch_is_on_its_way_at_a_time() {
    let mut ids = Segments::new(config()).unwrap();

    assert!(ids.fetch(0).is_some());
    assert!(ids.fetch(100 * SECOND).is_none());
    ids.failed(0, 0);
    assert_eq!(ids.fetch_from_ns(), SECOND);
    assert!(ids.fetch(SECOND).is_some());
    ids.failed(SECOND, 0);
    assert_eq!(ids.fetch_from_ns(), 3 * SECOND);
}

#[test]
fn the_step_follows_how_long_a_range_lasted() {
    let mut ids = Segments::new(config()).unwrap();
    let mut store = Store(0);
    let mut now = 0;
    let mut lasting = |ids: &mut Segments, lasted: u64| {
        // Uses a whole range up within that time.
        let mut step = ids.step();
        for _ in 0..2 {
            while let Some(fetch) = ids.fetch(now) {
                ids.fetched(now, store.give(fetch)).unwrap();
            }
            let range = ids.present.as_ref().unwrap().left.clone();
            for _ in range {
                ids.next(now).unwrap();
            }
            now += lasted * SECOND;
            ids.next(now).unwrap();
            step = ids.step();
        }
        step
    };

    assert_eq!(lasting(&mut ids, 5), 20);
    assert_eq!(lasting(&mut ids, 5), 40);
    assert_eq!(lasting(&mut ids, 40), 40);
    assert_eq!(lasting(&mut ids, 5), 80);
    assert_eq!(lasting(&mut ids, 5), 80, "the greatest");
    for _ in 0..6 {
        lasting(&mut ids, 500);
    }
    assert_eq!(ids.step(), 10, "the least");
}

#[test]
fn a_counter_that_was_set_back_is_refused() {
    let mut ids = Segments::new(config()).unwrap();
    ids.fetch(0).unwrap();
    ids.fetched(0, 100..110).unwrap();

    for (range, why) in [
        (105..115, "set back"),
        (200..200, "none"),
        (0..10, "set back"),
    ] {
        let now = ids.fetch_from_ns();
        ids.fetch(now).unwrap();
        let error = ids.fetched(now, range).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }

    assert_eq!(ids.left(), 10);
}

#[test]
fn bounds_that_make_no_sense_are_refused() {
    let check = |config: SegmentsConfig, part: &str| {
        let message = Segments::new(config).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };

    check(
        SegmentsConfig {
            step_min: 0,
            ..config()
        },
        "from 1 to 2^40",
    );
    check(
        SegmentsConfig {
            step_max: u64::MAX,
            ..config()
        },
        "from 1 to 2^40",
    );
    check(
        SegmentsConfig {
            step_max: 9,
            ..config()
        },
        "below the least",
    );
    check(
        SegmentsConfig {
            lasts: Duration::ZERO,
            ..config()
        },
        "no time",
    );
}

proptest! {
    /// Several processes on one counter, stores that fail, answers that take their time: no id twice, each
    /// process rising, steps within their bounds.
    #[test]
    fn ids_of_several_processes_are_unique(
        script in prop::collection::vec((0..3_usize, 0..4_u8, 0..90_u64), 1..400),
    ) {
        let mut processes = vec![Segments::new(config()).unwrap(); 3];
        let mut on_the_way: Vec<Option<Range<u64>>> = vec![None; 3];
        let mut last = [None; 3];
        let mut store = Store(1);
        let mut seen = std::collections::HashSet::new();
        let mut now = 0;

        for (who, what, seconds) in script {
            now += seconds * SECOND / 10;
            let ids = &mut processes[who];
            match what {
                0 => if let Some(fetch) = ids.fetch(now) {
                    prop_assert!((10..=80).contains(&fetch.step));
                    on_the_way[who] = Some(store.give(fetch));
                },
                1 => if let Some(range) = on_the_way[who].take() {
                    if seconds % 5 == 0 {
                        ids.failed(now, 0); // The reply was lost: that range is never used.
                    } else {
                        ids.fetched(now, range).unwrap();
                    }
                },
                _ => for _ in 0..seconds {
                    let left = ids.left();
                    let Ok(id) = ids.next(now) else {
                        prop_assert_eq!(left, 0, "refused only when used up");
                        break;
                    };
                    prop_assert!(seen.insert(id));
                    prop_assert!(last[who] < Some(id));
                    last[who] = Some(id);
                },
            }
        }
    }
}
