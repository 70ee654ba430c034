use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;
use steadfast_core::Timestamp;

use super::*;

const MS: u64 = 1_000_000;

/// A generator without a lead, from the tick after `now_ms` on.
fn started(layout: Layout, now_ms: u64) -> Snowflake {
    Snowflake::new(layout, 3, 0, now_ms * MS).unwrap()
}

fn config(time: u8, worker: u8, sequence: u8, gene: u8) -> LayoutConfig {
    LayoutConfig {
        bits: time + worker + sequence + gene,
        time_bits: time,
        worker_bits: worker,
        sequence_bits: sequence,
        gene_bits: gene,
        ..LayoutConfig::default()
    }
}

#[test]
fn an_id_says_when_by_whom_and_which() {
    let ids = started(Layout::DEFAULT, 1_000);

    let id = ids.next(5_000 * MS).unwrap();
    let next = ids.next(5_000 * MS).unwrap();

    let parts = Layout::DEFAULT.decode(next).unwrap();
    assert_eq!(next.get(), id.get() + 1);
    assert_eq!(parts.time.unix_millis(), Layout::EPOCH_UNIX_MS + 5_000);
    assert_eq!((parts.worker, parts.sequence, parts.gene), (3, 1, 0));
}

#[test]
fn a_clock_that_goes_back_changes_nothing_but_the_lead() {
    let ids = Snowflake::new(Layout::DEFAULT, 3, 100 * MS, 0).unwrap();
    let first = ids.next(5_000 * MS).unwrap();

    let second = ids.next(4_950 * MS).unwrap();

    assert_eq!(second.get(), first.get() + 1);
    assert_eq!(ids.lead_ns(4_950 * MS), 50 * MS);
    let refused = ids.next(4_000 * MS).unwrap_err();
    assert_eq!(
        refused,
        Refused::Ahead {
            until_ns: 4_900 * MS
        }
    );
}

#[test]
fn a_used_up_tick_borrows_from_the_next_as_far_as_it_may() {
    let layout = Layout::new(config(41, 20, 2, 0)).unwrap();
    let ids = Snowflake::new(layout, 3, 2 * MS, 0).unwrap();

    let taken: Vec<_> = (0..12).map(|_| ids.next(100 * MS).unwrap()).collect();

    assert!(taken.is_sorted());
    let last = layout.decode(taken[11]).unwrap();
    assert_eq!(last.time.unix_millis() - layout.epoch().unix_millis(), 102);
    let refused = Refused::Ahead { until_ns: 101 * MS };
    assert_eq!(ids.next(100 * MS), Err(refused));
    assert!(ids.next(101 * MS).is_ok());
}

#[test]
fn a_process_that_restarts_at_once_repeats_nothing() {
    let layout = Layout::new(config(41, 20, 2, 0)).unwrap();
    let mut seen = HashSet::new();

    // Each one takes all it gets, with the clock standing still but for the wait that it is told.
    let mut now = 50 * MS;
    for _ in 0..20 {
        let ids = Snowflake::new(layout, 3, 3 * MS, now).unwrap();
        for _ in 0..50 {
            match ids.next(now) {
                Ok(id) => assert!(seen.insert(id), "{id} came again"),
                Err(Refused::Ahead { until_ns }) => now = until_ns,
                Err(refused) => unreachable!("there are years left: {refused:?}"),
            }
        }
    }
    assert!(seen.len() > 500);
}

#[test]
fn a_batch_is_as_long_as_the_lead_allows() {
    let layout = Layout::new(config(41, 18, 4, 0)).unwrap();
    let ids = started(layout, 0);

    let one: Vec<_> = ids.batch(10 * MS, 10).unwrap().collect();
    let other: Vec<_> = ids.batch(10 * MS, 10).unwrap().collect();

    assert_eq!((one.len(), other.len()), (10, 6));
    assert!(one[9] < other[0]);
    assert_eq!(
        ids.batch(10 * MS, 1).unwrap_err(),
        Refused::Ahead { until_ns: 11 * MS }
    );
    assert_eq!(ids.batch(11 * MS, 0).unwrap().len(), 1);
}

#[test]
fn the_gene_is_that_of_the_key() {
    let layout = Layout::new(config(41, 10, 8, 4)).unwrap();
    let ids = started(layout, 0);

    let order = ids.next_for(10 * MS, 0xABCD).unwrap();

    assert_eq!(order.get() % 16, 0xD);
    assert_eq!(layout.decode(order).unwrap().gene, 0xD);
    // Without a key they are spread over all genes.
    let genes: HashSet<_> = (0..16)
        .map(|_| ids.next(11 * MS).unwrap().get() % 16)
        .collect();
    assert_eq!(genes.len(), 16);
}

#[test]
fn the_end_of_life_is_an_error_and_never_a_wrapped_id() {
    let layout = Layout::new(LayoutConfig {
        bits: 32,
        ..config(22, 6, 4, 0)
    })
    .unwrap();
    let last_ms = (1 << 22) - 1;
    let ids = Snowflake::new(layout, 3, 50 * MS, 0).unwrap();

    let last: Vec<_> = ids.batch(last_ms * MS, 1_000).unwrap().collect();

    assert_eq!(last.len(), 16, "the lead does not reach beyond the end");
    assert!(last.iter().all(|id| id.get() < 1 << 32));
    assert_eq!(ids.next(last_ms * MS), Err(Refused::EndOfLife));
    for now in [(last_ms + 1) * MS, u64::MAX] {
        assert_eq!(ids.next(now), Err(Refused::EndOfLife));
        let late = Snowflake::new(layout, 3, 50 * MS, now).unwrap();
        assert_eq!(late.next(now), Err(Refused::EndOfLife));
    }
    assert_eq!(
        layout.end().unix_millis() - layout.epoch().unix_millis(),
        1 << 22
    );
}

#[test]
fn the_days_that_are_left_are_counted() {
    let day = |unix_ms: i64| Layout::DEFAULT.days_left(Timestamp::from_unix_millis(unix_ms));

    assert_eq!(day(Layout::EPOCH_UNIX_MS), 25_451);
    assert_eq!(day(Layout::DEFAULT.end().unix_millis() - 1), 0);
    assert_eq!(day(i64::MAX), 0);
}

#[test]
fn presets_are_what_their_parts_say() {
    let default = Layout::new(LayoutConfig::default());
    assert_eq!(default, Ok(Layout::DEFAULT));
    let many = LayoutConfig {
        tick: Duration::from_millis(10),
        ..config(39, 16, 8, 0)
    };
    assert_eq!(Layout::new(many), Ok(Layout::MANY_WORKERS));
    assert_eq!(Layout::new(config(41, 5, 7, 0)), Ok(Layout::JAVASCRIPT));
    assert_eq!(Layout::JAVASCRIPT.ids_per_second(), 128_000);
    // The dates that the documents tell.
    for (layout, year) in [
        (Layout::DEFAULT, 2095),
        (Layout::JAVASCRIPT, 2095),
        (Layout::MANY_WORKERS, 2200),
    ] {
        let years = layout.end().unix_millis() as f64 / (365.2425 * 86_400_000.0);
        assert_eq!(1970 + years as i32, year);
    }
}

#[test]
fn layouts_out_of_range_are_refused_with_their_bound() {
    let check = |config: LayoutConfig, part: &str| {
        let message = Layout::new(config).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    let good = LayoutConfig::default();

    check(
        LayoutConfig { bits: 64, ..good },
        "number of bits is 64, it must be from 32 to 63",
    );
    check(
        LayoutConfig {
            time_bits: 40,
            ..good
        },
        "time 40 + worker 10 + sequence 12 + gene 0 = 62",
    );
    check(
        LayoutConfig {
            worker_bits: 255,
            ..good
        },
        "= 308, and an id has 63",
    );
    check(config(19, 32, 12, 0), "bits of time is 19");
    check(
        config(41, 22, 0, 0),
        "bits of sequence is 0, it must be from 1 to 22",
    );
    check(config(30, 10, 4, 17), "bits of gene is 17");
    check(
        LayoutConfig {
            tick: Duration::from_micros(500),
            ..good
        },
        "500µs is not whole milliseconds",
    );
    check(
        LayoutConfig {
            tick: Duration::ZERO,
            ..good
        },
        "it must be from 1 to 1000",
    );
    check(
        LayoutConfig {
            tick: Duration::MAX,
            ..good
        },
        "not whole milliseconds",
    );
    let epoch = Timestamp::from_unix_millis(-1);
    check(
        LayoutConfig { epoch, ..good },
        "the epoch in milliseconds since 1970 is -1",
    );
    let worker = Snowflake::new(Layout::DEFAULT, 1_024, 0, 0).unwrap_err();
    assert_eq!(
        worker.to_string(),
        "worker id 1024 is over 1023, the greatest of the layout"
    );
}

#[test]
fn ids_stay_within_what_is_reserved_and_the_next_begins_behind_it() {
    let layout = Layout::new(config(41, 20, 2, 0)).unwrap();
    let ids = Snowflake::reserved(layout, 3, 5 * MS, 10 * MS, 13 * MS).unwrap();

    // Its time is behind: it begins where it was told.
    assert_eq!(ids.next(4 * MS), Err(Refused::Ahead { until_ns: 5 * MS }));
    let first = ids.next(6 * MS).unwrap();
    assert_eq!(since_ms(layout, first), 10);
    // Three ticks of four are reserved, whatever the lead allows.
    let rest: Vec<_> = ids.batch(12 * MS, 100).unwrap().collect();
    assert_eq!(since_ms(layout, rest[rest.len() - 1]), 12);
    assert_eq!(ids.next(12 * MS), Err(Refused::Beyond));
    assert_eq!(ids.next(400 * MS), Err(Refused::Beyond));
    ids.reserve(12 * MS);
    assert_eq!(
        ids.next(12 * MS),
        Err(Refused::Beyond),
        "what was reserved stays"
    );
    ids.reserve(14 * MS);
    assert_eq!(since_ms(layout, ids.next(12 * MS).unwrap()), 13);

    let next = Snowflake::reserved(layout, 3, 0, 14 * MS, 20 * MS).unwrap();
    assert!(next.next(14 * MS).unwrap() > ids.batch(13 * MS, 100).unwrap().last().unwrap());
}

#[test]
fn a_part_of_a_tick_is_not_reserved_and_is_begun_behind() {
    let layout = Layout::MANY_WORKERS;
    let ids = Snowflake::reserved(layout, 3, 0, 10 * MS, 39 * MS).unwrap();

    let last = ids.batch(30 * MS, 1_000);
    assert_eq!(
        last.unwrap_err(),
        Refused::Beyond,
        "the tick of 30 ms ends at 40 ms"
    );
    let made = ids.batch(29 * MS, 1_000).unwrap().last().unwrap();
    let next = Snowflake::reserved(layout, 3, 0, 39 * MS, 100 * MS).unwrap();
    assert_eq!(since_ms(layout, next.next(40 * MS).unwrap()), 40);
    assert_eq!(since_ms(layout, made), 20);
}

#[test]
fn once_closed_it_tells_where_it_ended_and_makes_no_id() {
    let layout = Layout::new(config(41, 20, 2, 0)).unwrap();
    let ids = Snowflake::reserved(layout, 3, 5 * MS, 0, 100 * MS).unwrap();
    let last = ids.batch(10 * MS, 6).unwrap().last().unwrap();

    assert_eq!(ids.close(), Some(12 * MS));

    assert_eq!(since_ms(layout, last), 11);
    for now in [0, 10 * MS, 50 * MS] {
        assert_eq!(ids.next(now), Err(Refused::Closed));
    }
    assert_eq!((ids.close(), ids.lead_ns(10 * MS)), (None, 0));
    // One that has made none says where it would have begun.
    let none = Snowflake::reserved(layout, 3, 5 * MS, 7 * MS, 100 * MS).unwrap();
    assert_eq!(none.close(), Some(7 * MS));
}

fn since_ms(layout: Layout, id: Id) -> i64 {
    layout.decode(id).unwrap().time.unix_millis() - layout.epoch().unix_millis()
}

#[test]
fn a_number_of_more_bits_is_not_decoded() {
    assert!(Layout::JAVASCRIPT.decode(Id::new((1 << 53) - 1)).is_ok());
    let error = Layout::JAVASCRIPT.decode(Id::new(1 << 53)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "9007199254740992 has more than 53 bits, so it was not made with this layout"
    );
}

/// Any layout that is accepted.
fn any_layout() -> impl Strategy<Value = Layout> {
    (20..=45_u8, 1..=22_u8, 0..=16_u8, 0..=30_u8, 1..=1_000_u64).prop_filter_map(
        "as many bits as an id may have",
        |(time, sequence, gene, worker, tick_ms)| {
            Layout::new(LayoutConfig {
                tick: Duration::from_millis(tick_ms),
                ..config(time, worker, sequence, gene)
            })
            .ok()
        },
    )
}

proptest! {
    #[test]
    fn ids_rise_and_say_what_went_into_them(
        layout in any_layout(),
        worker: u64,
        lead_ms in 0..2_000_u64,
        steps in prop::collection::vec((-500..1_000_i64, 1..200_u32, any::<u64>()), 1..40),
    ) {
        let worker = worker & layout.worker_max();
        let lead_ns = lead_ms * MS;
        let ids = Snowflake::new(layout, worker, lead_ns, 0).unwrap();
        let tick_ns = layout.tick_ns();
        let mut now = 10_000 * MS;
        let mut last = None;

        for (step_ms, count, key) in steps {
            now = now.saturating_add_signed(step_ms * MS as i64);
            let mut taken = Vec::new();
            match ids.batch(now, count) {
                Ok(batch) => taken.extend(batch),
                Err(Refused::Ahead { until_ns }) => {
                    prop_assert!(until_ns > now, "a wait leads on");
                    now = until_ns;
                    taken.push(ids.next_for(now, key).unwrap());
                    let parts = layout.decode(taken[0]).unwrap();
                    prop_assert_eq!(parts.gene, key & ((1 << layout.gene_bits()) - 1));
                }
                Err(Refused::EndOfLife) => break,
                Err(refused) => unreachable!("nothing is reserved or closed: {refused:?}"),
            }
            for id in taken {
                prop_assert!(last < Some(id), "strictly increasing");
                last = Some(id);
                let parts = layout.decode(id).unwrap();
                let since_ms = parts.time.unix_millis() - layout.epoch().unix_millis();
                let ahead = since_ms as i128 * i128::from(MS) - i128::from(now);
                prop_assert_eq!(parts.worker, worker);
                prop_assert!(ahead <= i128::from(lead_ns + tick_ns), "the lead is bounded");
            }
        }
    }

    /// Whoever has a worker id next begins where the one before it had reserved, whatever either does with its clock.
    #[test]
    fn no_two_leases_of_a_worker_make_one_id(
        layout in any_layout(),
        leases in prop::collection::vec((0..20_000_u64, 0..3_000_u64, 0..500_u64, 1..60_u32), 2..8),
    ) {
        let mut all = HashSet::new();
        let mut mark = 0;
        for (now_ms, reserve_ms, lead_ms, count) in leases {
            let now = now_ms * MS;
            let reserved = mark.max(now + reserve_ms * MS);
            let ids = Snowflake::reserved(layout, 0, lead_ms * MS, mark, reserved).unwrap();
            for turn in 0..count {
                match ids.next(now + u64::from(turn) * MS) {
                    Ok(id) => prop_assert!(all.insert(id), "{id} came again"),
                    Err(Refused::Ahead { .. } | Refused::Beyond) => {}
                    Err(refused) => prop_assert_eq!(refused, Refused::EndOfLife),
                }
            }
            // A crash leaves what was reserved, an end in order what was used.
            let end = ids.close().unwrap();
            mark = if count % 2 == 0 { reserved } else { end };
        }
    }

    #[test]
    fn layouts_that_are_disjoint_make_no_id_of_each_other(
        before in any_layout(),
        after in any_layout(),
        end_ms in 0..100_000_u64,
        start_ms in 0..100_000_u64,
        genes in any::<u64>(),
    ) {
        let unix = |ms: u64| Timestamp::from_unix_millis(Layout::EPOCH_UNIX_MS + ms as i64);
        // The greatest before the end, and the least from the start on.
        let last_tick = (end_ms * MS).div_ceil(before.tick_ns());
        let first_tick = start_ms * MS / after.tick_ns();
        prop_assume!(last_tick <= before.tick_max() && first_tick <= after.tick_max());
        let greatest = (last_tick << before.sequence_bits()).checked_sub(1)
            .map(|place| before.compose(place, before.worker_max(), genes | u64::MAX));
        let least = after.compose(first_tick << after.sequence_bits(), 0, 0);

        let disjoint = after.is_disjoint_after(&before, unix(end_ms), unix(start_ms));

        prop_assert_eq!(disjoint, greatest.is_none_or(|greatest| least > greatest));
    }

    #[test]
    fn every_layout_is_read_as_it_is_written(layout in any_layout()) {
        prop_assert_eq!(layout.to_string().parse(), Ok(layout));
        prop_assert_eq!(Layout::new(layout.config()), Ok(layout));
    }

    #[test]
    fn two_workers_never_make_one_id(
        layout in any_layout(),
        workers in prop::array::uniform2(any::<u64>()),
        counts in prop::array::uniform2(1..300_u32),
    ) {
        let [one, other] = workers.map(|worker| worker & layout.worker_max());
        prop_assume!(one != other);
        let now = 10_000 * MS;
        let taken = |worker, count| {
            let ids = Snowflake::new(layout, worker, 0, 0).unwrap();
            ids.batch(now, count).map(Iterator::collect).unwrap_or_default()
        };

        let one: HashSet<Id> = taken(one, counts[0]);
        let other: HashSet<Id> = taken(other, counts[1]);

        prop_assert!(one.is_disjoint(&other));
    }
}
