//! How many rows, by what batches of so many have taken.

use super::*;

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
}
