//! Smaller batches and rests for those who wait for locks.

use super::*;

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

/// Others wait as long as a batch takes, which is counted off; then nobody can tell any more.
#[test]
fn whoever_waited_is_forgotten_once_looks_see_nothing_or_are_too_old() {
    let run = |looks: [Option<Option<u32>>; 2]| {
        let mut size = BatchSize::new(SizeConfig::default()).unwrap();
        let mut now = 0;
        for look in looks {
            for _ in 0..300 {
                now += 100 * MS;
                if let Some(lock_waiters) = look {
                    let lag = Lag::Unknown;
                    size.looked(Pressure { lock_waiters, lag }, now);
                }
                let rows = size.step(now).rows;
                let took_ns = (80 + u64::from(rows)) * MS;
                now += took_ns;
                size.wrote(Wrote { rows, took_ns }, now);
            }
        }
        size.rows()
    };
    let never = run([None, None]);
    assert!(never >= 60, "{never}");
    let waited = run([Some(Some(2)), Some(Some(2))]);
    assert!(waited < 40, "{waited}");

    for blind in [Some(None), None] {
        let rows = run([Some(Some(2)), blind]);

        assert!(rows >= 60, "{rows} with {blind:?}");
    }
}

#[test]
fn a_rest_of_long_ago_does_not_rule_once_looks_see_again() {
    let mut size = BatchSize::new(SizeConfig::default()).unwrap();
    let mut now = 0;
    write_waited_for(&mut size, &mut now, (9, 100), |_| 5 * MS);
    assert!(size.step(now).not_before > now);

    now += 3_600_000 * MS;
    let step = write_waited_for(&mut size, &mut now, (0, 1), |_| 5 * MS);

    assert_eq!(step.not_before, 0);
}
