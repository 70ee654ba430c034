//! Pauses for replicas that are behind.

use super::*;

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
fn a_replica_that_is_known_to_be_behind_for_at_least_the_limit_stops_and_for_less_is_unknown() {
    let check = |lag, expect| {
        let mut size = with_lag(UnknownLag::Slow);
        let lag = Lag::AtLeast(Duration::from_millis(lag));
        size.looked(
            Pressure {
                lock_waiters: None,
                lag,
            },
            MS,
        );
        assert_eq!(size.step(MS).constraint, expect);
    };

    check(1_000, Constraint::UnknownLag);
    check(1_001, Constraint::Lag);
}
