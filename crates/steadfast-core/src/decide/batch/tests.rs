use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::decide::backoff::{Backoff, Jitter};

const MS: u64 = 1_000_000;

/// A database in which a batch of so many rows takes so many milliseconds.
type Model = fn(f64) -> f64;

const MODELS: [(&str, Model); 5] = [
    ("idle: commits cost most", |rows| 3.0 + 0.02 * rows),
    ("slow rows", |rows| 3.0 + 1.5 * rows),
    ("a cliff at 110 rows", |rows| {
        3.0 + 0.2 * rows
            + if rows > 110.0 {
                2.0 * (rows - 110.0)
            } else {
                0.0
            }
    }),
    ("a cliff at 30 rows", |rows| {
        2.0 + 0.5 * rows
            + if rows > 30.0 {
                8.0 * (rows - 30.0)
            } else {
                0.0
            }
    }),
    ("one row takes longer than the target", |rows| 80.0 * rows),
];

/// Lets the controller write for a minute; gives rows a second of its second half.
fn throughput(config: SizeConfig, model: Model, scatter: impl Fn(u64) -> f64) -> f64 {
    let mut size = BatchSize::new(config).unwrap();
    let (mut now, mut rows_written, mut batches) = (0, 0.0, 0);
    while now < 60_000 * MS {
        let step = size.step(now);
        now = now.max(step.not_before);
        let took = model(f64::from(step.rows)) * scatter(batches);
        let took_ns = (took * MS as f64) as u64;
        now += took_ns;
        let rows = step.rows;
        size.wrote(Wrote { rows, took_ns }, now);
        batches += 1;
        if now > 30_000 * MS {
            rows_written += f64::from(rows);
        }
    }
    rows_written / 30.0
}

fn best_fixed(model: Model) -> f64 {
    let rows = (1..=200).map(f64::from);
    // Sizes over the target hold their locks too long, however much they write.
    let within = rows.filter(|&rows| rows == 1.0 || model(rows) <= 50.0);
    within
        .map(|rows| 1_000.0 * rows / model(rows))
        .fold(0.0, f64::max)
}

#[test]
fn it_writes_four_fifths_of_the_best_fixed_size_without_being_told_it() {
    let scatters: [fn(u64) -> f64; 3] = [
        |_| 1.0,
        |batch| 0.9 + 0.2 * ((batch * 7 % 11) as f64 / 10.0),
        // A checkpoint now and then.
        |batch| if batch % 97 == 0 { 6.0 } else { 1.0 },
    ];
    for (name, model) in MODELS {
        for (number, scatter) in scatters.into_iter().enumerate() {
            let ours = throughput(SizeConfig::default(), model, scatter);
            let best = best_fixed(model);
            assert!(
                ours >= 0.8 * best,
                "{name}, scatter {number}: {ours} of {best} rows/s"
            );
        }
    }
}

#[test]
fn a_cliff_is_met_seldom() {
    let mut size = BatchSize::new(SizeConfig::default()).unwrap();
    let (mut now, mut over) = (0, 0);
    let (_, model) = MODELS[2];
    for _ in 0..1_000 {
        let rows = size.step(now).rows;
        let took_ns = (model(f64::from(rows)) * MS as f64) as u64;
        over += u32::from(took_ns > 100 * MS);
        now += took_ns;
        size.wrote(Wrote { rows, took_ns }, now);
    }
    assert!(over <= 2, "{over} batches took twice the target");
}

#[test]
fn it_follows_a_database_that_turns_slow_and_quick_again() {
    let mut size = BatchSize::new(SizeConfig::default()).unwrap();
    let mut now = 0;
    let mut run = |cost_ns: u64, batches: u32| {
        for _ in 0..batches {
            let rows = size.step(now).rows;
            let took_ns = 2 * MS + u64::from(rows) * cost_ns;
            now += took_ns;
            size.wrote(Wrote { rows, took_ns }, now);
        }
        (size.step(now).rows, size.step(now).constraint)
    };

    assert_eq!(run(MS / 10, 20), (200, Constraint::Cap));
    let (slow, why) = run(5 * MS, 6);
    assert!((6..=9).contains(&slow), "{slow}");
    assert_eq!(why, Constraint::Time);
    assert_eq!(run(MS / 10, 600), (200, Constraint::Cap));
}

#[test]
fn a_batch_that_had_no_more_rows_does_not_let_it_grow() {
    let mut size = BatchSize::new(SizeConfig::default()).unwrap();
    let before = size.rows();

    for now in 1..100 {
        size.wrote(
            Wrote {
                rows: 3,
                took_ns: MS,
            },
            now * MS,
        );
    }

    assert_eq!(size.rows(), before);
}

/// Writes so many batches, with a look before each and so many who wait; each takes so long.
fn write_waited_for(
    size: &mut BatchSize,
    now: &mut u64,
    (waiters, batches): (u32, u32),
    took: impl Fn(u32) -> u64,
) -> Step {
    for _ in 0..batches {
        *now += 100 * MS;
        let pressure = Pressure {
            lock_waiters: Some(waiters),
            lag: Lag::Unknown,
        };
        size.looked(pressure, *now);
        let rows = size.step(*now).rows;
        let took_ns = took(rows);
        size.wrote(Wrote { rows, took_ns }, *now);
    }
    size.step(*now)
}

#[test]
fn whoever_waits_for_a_long_batch_makes_the_next_ones_smaller() {
    let mut size = BatchSize::new(SizeConfig::default()).unwrap();
    let mut now = 0;
    let took = |rows: u32| u64::from(rows) * MS / 5;
    let step = write_waited_for(&mut size, &mut now, (2, 30), took);
    assert_eq!((step.rows, step.not_before), (200, 0));

    let step = write_waited_for(&mut size, &mut now, (3, 3), took);
    assert!(step.rows < 70, "{}", step.rows);
    assert_eq!(step.constraint, Constraint::LockWaiters);

    let step = write_waited_for(&mut size, &mut now, (0, 500), took);
    assert_eq!(step.constraint, Constraint::Cap);
}

/// A writer asks what was seen before each batch, and once more when it has waited for a turn.
#[test]
fn a_look_that_is_shown_again_counts_once() {
    let waited_for = Pressure {
        lock_waiters: Some(3),
        lag: Lag::Unknown,
    };
    let fallen = |shown: u32| {
        let mut size = BatchSize::new(SizeConfig::default()).unwrap();
        for batch in 1..=40 {
            let rows = size.step(batch * 100 * MS).rows;
            let took_ns = u64::from(rows) * MS;
            size.wrote(Wrote { rows, took_ns }, batch * 100 * MS);
        }
        let before = size.rows();
        for _ in 0..shown {
            size.looked(waited_for, 4_050 * MS);
        }
        (before, size.rows())
    };

    let (before, once) = fallen(1);

    assert!(once < before);
    assert_eq!(fallen(4), (before, once));
}

#[test]
fn whoever_waits_for_quick_batches_is_let_through_by_rests_that_are_bounded() {
    let mut size = BatchSize::new(SizeConfig::default()).unwrap();
    let mut now = 0;
    let took = |_| 5 * MS;
    write_waited_for(&mut size, &mut now, (2, 30), took);

    let step = write_waited_for(&mut size, &mut now, (3, 2), took);
    assert_eq!(step.rows, 200, "a smaller one would only come more often");
    assert_eq!(step.constraint, Constraint::LockWaiters);
    // It writes for four ninths of the time.
    let rest = step.not_before - now;
    assert!((6 * MS..7 * MS).contains(&rest), "{rest}");

    let step = write_waited_for(&mut size, &mut now, (1_000, 1_000), took);
    assert_eq!(step.not_before - now, 75 * MS, "a sixteenth of the time");
    let slow = write_waited_for(&mut size, &mut now, (1_000, 1), |_| 3_600_000 * MS);
    assert_eq!(slow.not_before - now, 1_000 * MS);

    let step = write_waited_for(&mut size, &mut now, (0, 100), took);
    assert_eq!(step.not_before, 0);
    assert_ne!(step.constraint, Constraint::LockWaiters);
}

#[test]
fn nobody_rests_by_a_look_that_is_too_old() {
    let mut size = BatchSize::new(SizeConfig::default()).unwrap();
    let mut now = 0;
    write_waited_for(&mut size, &mut now, (9, 10), |_| MS);
    assert!(size.step(now).not_before > now);

    now += 301 * MS;
    let (rows, took_ns) = (200, MS);
    size.wrote(Wrote { rows, took_ns }, now);

    assert_eq!(size.step(now).not_before, 0);
}

#[test]
fn while_the_lag_is_unknown_others_are_let_through_for_no_less() {
    let mut size = with_lag(UnknownLag::Slow);
    let mut now = 0;

    let step = write_waited_for(&mut size, &mut now, (1_000, 1_000), |_| 5 * MS);

    assert_eq!(step.constraint, Constraint::UnknownLag);
    assert_eq!(step.not_before - now, 75 * MS, "a sixteenth of the time");
}

#[test]
fn who_takes_turns_leaves_those_who_wait_to_the_others_until_one_alone_is_too_many() {
    let mut size = BatchSize::new(SizeConfig::default()).unwrap();
    let mut now = 0;
    let took = |_| 5 * MS;
    write_waited_for(&mut size, &mut now, (0, 30), took);

    size.takes_turns(Turns::Some);
    let step = write_waited_for(&mut size, &mut now, (9, 30), took);
    assert_eq!((step.rows, step.not_before), (200, 0));
    assert_eq!(step.constraint, Constraint::LockWaiters);

    size.takes_turns(Turns::One);
    let step = write_waited_for(&mut size, &mut now, (9, 1), took);
    assert!(step.not_before > now);

    size.takes_turns(Turns::All);
    let step = write_waited_for(&mut size, &mut now, (0, 100), took);
    assert_eq!((step.not_before, step.constraint), (0, Constraint::Cap));
}

/// So many writers, each with a batch in flight.
fn in_flight(writers: u32) -> InFlight {
    let mut batches = InFlight::default();
    for _ in 0..writers {
        batches.joined(2);
        batches.started();
    }
    batches
}

#[test]
fn turns_come_back_once_fewer_wait() {
    let mut batches = in_flight(8);
    batches.looked(Some(7), 0);
    assert_eq!(batches.permits(0), 3);
    for _ in 0..5 {
        batches.ended();
    }

    let (mut look, mut permits) = (0, Vec::new());
    let mut looks = |batches: &mut InFlight, waiters, count| {
        for _ in 0..count {
            look += 1;
            batches.looked(Some(waiters), look * 100 * MS);
            permits.push(batches.permits(look * 100 * MS));
        }
        *permits.last().unwrap()
    };

    // As many wait as may: one more is tried after five seconds, and found to be one too many.
    assert_eq!(looks(&mut batches, 2, 49), 3);
    assert_eq!(looks(&mut batches, 2, 1), 4);
    batches.started();
    assert_eq!(looks(&mut batches, 3, 1), 3);
    batches.ended();
    assert_eq!(looks(&mut batches, 0, 4), 3);
    assert_eq!(looks(&mut batches, 0, 1), 4);
    assert_eq!(looks(&mut batches, 0, 20), 8);
    assert_eq!(batches.turns(look * 100 * MS), Turns::All);
}

#[test]
fn batches_that_wait_for_each_other_for_longer_than_their_target_become_fewer() {
    let mut batches = in_flight(4);
    let (target, took) = (Duration::from_millis(50), Duration::from_millis(60));
    batches.wrote(took, target);
    batches.looked(Some(2), 100 * MS);
    assert_eq!(batches.permits(100 * MS), 3);

    // With one more they would take 48 ms, and then 60.
    batches.ended();
    for look in 2..=30 {
        batches.wrote(took * 3 / 5, target);
        batches.looked(Some(1), look * 100 * MS);
    }
    assert_eq!(batches.permits(3_000 * MS), 4);
    batches.started();
    batches.wrote(took, target);
    batches.looked(Some(2), 3_100 * MS);
    assert_eq!(batches.permits(3_100 * MS), 3);
    batches.ended();
    for look in 32..=60 {
        batches.wrote(Duration::from_millis(45), target);
        batches.looked(Some(1), look * 100 * MS);
    }
    assert_eq!(batches.permits(6_000 * MS), 3);
}

#[test]
fn nobody_waits_for_a_turn_by_a_look_that_is_too_old_or_has_seen_nothing() {
    let mut batches = in_flight(8);
    batches.looked(None, 0);
    assert_eq!(batches.turns(0), Turns::All);
    batches.looked(Some(1_000), 100 * MS);
    assert_eq!(batches.turns(100 * MS), Turns::One);

    assert_eq!(batches.turns(400 * MS), Turns::One);
    assert_eq!(batches.turns(401 * MS), Turns::All);

    // Nor while one look after the other sees nothing.
    batches.looked(Some(1_000), 500 * MS);
    for look in 6..=9 {
        assert_eq!(batches.turns(look * 100 * MS - 100 * MS), Turns::One);
        batches.looked(None, look * 100 * MS);
    }
    assert_eq!(batches.turns(900 * MS), Turns::All);
}

#[test]
fn the_strictest_of_the_writers_rules_as_long_as_it_is_there() {
    let mut batches = in_flight(3);
    batches.joined(0);
    batches.looked(Some(1), 0);
    assert_eq!(batches.permits(0), 2);

    batches.left(0);
    for look in 1..=5 {
        batches.looked(Some(1), look * 100 * MS);
    }
    assert_eq!(batches.turns(500 * MS), Turns::All);
}

fn with_lag(unknown_lag: UnknownLag) -> BatchSize {
    let config = SizeConfig {
        lag_max: Some(Duration::from_secs(1)),
        unknown_lag,
        ..SizeConfig::default()
    };
    BatchSize::new(config).unwrap()
}

fn lag(ms: u64) -> Pressure {
    let lag = Lag::Known(Duration::from_millis(ms));
    Pressure {
        lock_waiters: None,
        lag,
    }
}

#[test]
fn nothing_is_written_while_a_replica_is_over_its_limit_but_one_row_after_the_longest_pause() {
    let mut size = with_lag(UnknownLag::Slow);
    size.looked(lag(1_001), 1_000 * MS);

    let step = size.step(1_000 * MS);
    assert_eq!(step.constraint, Constraint::Lag);
    assert_eq!((step.rows, step.not_before), (1, 11_000 * MS));

    // The one row begins the next pause.
    size.looked(lag(5_000), 11_000 * MS);
    size.wrote(
        Wrote {
            rows: 1,
            took_ns: MS,
        },
        11_001 * MS,
    );
    assert_eq!(size.step(11_002 * MS).not_before, 21_001 * MS);

    size.looked(lag(1_000), 11_100 * MS);
    let step = size.step(11_100 * MS);
    assert_eq!((step.rows, step.not_before), (20, 0));
}

#[test]
fn a_look_that_is_too_old_tells_nothing() {
    let check = |policy, expect: (u32, u64, Constraint)| {
        let mut size = with_lag(policy);
        size.looked(lag(0), 1_000 * MS);
        for batch in 0..30 {
            let now = (1_000 + batch) * MS;
            let rows = size.step(now).rows;
            size.wrote(Wrote { rows, took_ns: MS }, now);
        }
        assert_eq!(size.step(1_300 * MS).rows, 200);

        let rows = size.step(1_301 * MS).rows;
        size.wrote(Wrote { rows, took_ns: MS }, 1_302 * MS);
        let step = size.step(1_302 * MS);
        assert_eq!(
            (step.rows, step.not_before, step.constraint),
            expect,
            "{policy:?}"
        );
    };

    check(UnknownLag::Proceed, (200, 0, Constraint::Cap));
    check(UnknownLag::Slow, (20, 1_303 * MS, Constraint::UnknownLag));
    check(UnknownLag::Pause, (1, 11_302 * MS, Constraint::UnknownLag));
}

#[test]
fn numbers_out_of_range_are_refused_with_their_bound() {
    let check = |config: SizeConfig, expect: &str| {
        let refused = BatchSize::new(config).unwrap_err();
        assert_eq!(refused.to_string(), expect);
    };
    let default = SizeConfig::default();

    check(
        SizeConfig {
            rows_max: 0,
            ..default
        },
        "rows_max is 0, but must be from 1 to 65535",
    );
    check(
        SizeConfig {
            target: Duration::ZERO,
            ..default
        },
        "target is 0ns, but must be from 1ms to 10s",
    );
    check(
        SizeConfig {
            pause_max: Duration::MAX,
            ..default
        },
        "pause_max is 18446744073709551615.999999999s, but must be from 100ms to 3600s",
    );
}

proptest! {
    #[test]
    fn permits_are_one_at_least_and_no_more_than_writers_and_rise_by_one(
        // Often looks that follow each other soon and see nobody wait, or turns would never come back.
        events in prop::collection::vec(
            (
                prop_oneof![2 => Just(5), 1 => 0u8..7],
                prop_oneof![2 => Just(0), 1 => 0u32..20],
                prop_oneof![2 => 50..100u64, 1 => 0..400u64],
            ),
            0..300,
        ),
    ) {
        let mut batches = InFlight::default();
        let (mut writers, mut now) = (Vec::new(), 0);
        for (kind, small, ms) in events {
            now += ms * MS;
            let before = batches.permits(now);
            match kind {
                0 => {
                    batches.joined(small);
                    writers.push(small);
                }
                1 => {
                    if let Some(one) = writers.pop() {
                        batches.left(one);
                    }
                }
                2 => batches.started(),
                3 => batches.ended(),
                4 => batches.wrote(Duration::from_millis(ms / 4), Duration::from_millis(50)),
                5 => batches.looked(Some(small), now),
                // Late, or of another clock.
                _ => batches.looked(Some(small), ms),
            }
            let (permits, all) = (batches.permits(now), writers.len() as u32);
            prop_assert!(permits <= all && permits >= all.min(1), "{permits} of {all}");
            let is_over = writers.iter().min().is_some_and(|most| small > *most);
            if kind == 5 && is_over {
                prop_assert!(permits <= before);
            }
            if kind == 5 && before > 0 && batches.turns(now) == Turns::Some {
                prop_assert!(permits <= before + 1);
            }
        }
    }

    #[test]
    fn no_step_exceeds_the_cap_or_is_empty(
        cap in 1u32..1_000,
        events in prop::collection::vec((0u8..3, any::<u32>(), any::<u64>()), 0..200),
    ) {
        let config = SizeConfig {
            rows_max: cap,
            lag_max: Some(Duration::from_secs(1)),
            ..SizeConfig::default()
        };
        let mut size = BatchSize::new(config).unwrap();
        let mut latest = 0;
        for (kind, small, large) in events {
            match kind {
                0 => size.wrote(Wrote { rows: small, took_ns: large }, large),
                1 => size.looked(lag(u64::from(small)), large),
                _ => size.looked(Pressure { lock_waiters: Some(small), lag: Lag::Unknown }, large),
            }
            let step = size.step(large);
            prop_assert!((1..=cap).contains(&step.rows));
            // Rests for others, too, have a bound.
            latest = latest.max(large);
            let rests = step.constraint == Constraint::LockWaiters;
            prop_assert!(!rests || step.not_before <= latest.saturating_add(1_000 * MS));
        }
    }

    #[test]
    fn a_search_writes_each_good_row_once_in_order_and_gives_up_the_bad_ones(
        rows in 1usize..300,
        bad in prop::collection::btree_set(0usize..300, 0..12),
    ) {
        let bad: BTreeSet<_> = bad.into_iter().filter(|row| *row < rows).collect();
        let (seen, given_up, transactions) = search(rows, &bad);

        let all: Vec<_> = (0..rows).collect();
        prop_assert_eq!(seen, all);
        prop_assert_eq!(&given_up, &bad);
        let halvings = f64::from(rows as u32).log2().ceil() as usize;
        let most = 2 * halvings * bad.len().max(1);
        prop_assert!(rows == 1 || transactions as usize <= most, "{transactions} of {most}");
    }
}

/// Gives the rows in the order in which they were decided, those given up, and the transactions.
fn search(rows: usize, bad: &BTreeSet<usize>) -> (Vec<usize>, BTreeSet<usize>, u32) {
    let mut search = Search::new(rows);
    let (mut seen, mut given_up) = (Vec::new(), BTreeSet::new());
    while let Some(part) = search.next() {
        match search.ended(!part.clone().any(|row| bad.contains(&row))) {
            Tried::Written => seen.extend(part),
            Tried::Halved => assert!(part.len() > 1),
            Tried::Bad(row) => {
                seen.push(row);
                given_up.insert(row);
            }
        }
    }
    (seen, given_up, search.transactions())
}

#[test]
fn one_bad_row_is_found_by_twice_the_halvings_wherever_it_is() {
    for rows in 2..=256_usize {
        let most = 2 * f64::from(rows as u32).log2().ceil() as u32;
        for bad in 0..rows {
            let (_, given_up, transactions) = search(rows, &[bad].into());
            assert_eq!(given_up, [bad].into());
            assert!(
                transactions <= most,
                "{bad} of {rows}: {transactions}, at most {most}"
            );
        }
    }
}

#[test]
fn rows_that_fail_only_together_are_all_written() {
    let mut search = Search::new(16);
    let mut written = 0;

    // Rows 3 and 12 exclude each other within one transaction, and are fine apart.
    while let Some(part) = search.next() {
        let together = part.contains(&3) && part.contains(&12);
        assert!(!matches!(search.ended(!together), Tried::Bad(_)));
        written += if together { 0 } else { part.len() };
    }

    assert_eq!(written, 16);
}

#[test]
fn what_a_search_has_not_decided_is_told_in_order() {
    let mut search = Search::new(8);
    let tried = search.next().unwrap();
    assert_eq!(tried, 0..4);
    search.ended(true);

    assert_eq!(search.undecided().collect::<Vec<_>>(), [4, 5, 6, 7]);
}

#[test]
fn a_circuit_opens_after_bad_rows_in_a_row_and_tries_one_after_each_wait() {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1)).unwrap();
    let mut circuit = Circuit::new(2, backoff.with_jitter(Jitter::None));

    assert!(!circuit.bad(0, 0));
    circuit.written();
    assert!(
        !circuit.bad(0, 0),
        "a written row in between starts the count anew"
    );
    assert!(circuit.bad(0, 0));
    assert_eq!(circuit.state(99 * MS), CircuitState::Open(100 * MS));
    assert_eq!(circuit.state(100 * MS), CircuitState::HalfOpen);

    assert!(circuit.bad(100 * MS, 0));
    assert_eq!(circuit.state(101 * MS), CircuitState::Open(300 * MS));
    circuit.written();
    assert!(circuit.state(300 * MS).is_closed());
    circuit.open(400 * MS, 0);
    assert_eq!(circuit.state(400 * MS), CircuitState::Open(500 * MS));
}
