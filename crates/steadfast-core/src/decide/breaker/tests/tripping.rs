//! What makes it trip, and for how long.

use super::*;
use crate::decide::breaker::{InvalidBreaker, RejectedBy, TripReason};

fn tripped(change: Option<Change>) -> Option<TripReason> {
    change.map(|change| match change {
        Change::Tripped { reason, .. } => reason,
        other => panic!("{other:?}"),
    })
}

#[test]
fn failures_in_a_row_trip_however_long_it_was_healthy() {
    for healthy in [0, 10, 1_000] {
        let breaker = breaker(of_three());
        for call in 0..healthy {
            assert_eq!(good(&breaker, call * MS), None);
        }
        let now = healthy * MS;

        assert_eq!([fail(&breaker, now), fail(&breaker, now)], [None, None]);
        let reason = TripReason::Consecutive { failures: 3 };
        assert_eq!(tripped(fail(&breaker, now)), Some(reason));
    }
}

#[test]
fn a_success_between_failures_ends_the_row() {
    let breaker = breaker(of_three());

    for _ in 0..100 {
        assert_eq!(fail(&breaker, 0), None);
        assert_eq!(fail(&breaker, 0), None);
        assert_eq!(good(&breaker, 0), None);
    }
}

#[test]
fn a_share_of_failures_trips_once_the_window_has_enough_calls() {
    let config = BreakerConfig::new().with_failure_share(0.25).unwrap();
    let breaker = breaker(config.with_min_calls(8).unwrap());

    for call in 0..7 {
        let change = if call < 5 {
            fail(&breaker, 0)
        } else {
            good(&breaker, 0)
        };
        assert_eq!(change, None, "call {call}");
    }

    let (failed, calls) = (6, 8);
    let reason = TripReason::FailureShare { failed, calls };
    assert_eq!(tripped(fail(&breaker, 0)), Some(reason));
}

#[test]
fn a_share_of_slow_calls_trips_though_all_succeed() -> Result<(), InvalidBreaker> {
    let config = BreakerConfig::new().with_slow(millis(800), 0.5)?;
    let breaker = breaker(config.with_min_calls(4)?);
    for _ in 0..2 {
        assert_eq!(good(&breaker, 0), None);
    }

    assert_eq!(slow(&breaker, 0), None);

    let (slow_calls, calls) = (2, 4);
    let reason = TripReason::SlowShare {
        slow: slow_calls,
        calls,
    };
    assert_eq!(tripped(slow(&breaker, 0)), Some(reason));
    Ok(())
}

#[test]
fn what_left_the_window_does_not_trip() -> Result<(), InvalidBreaker> {
    let config = BreakerConfig::new().with_failure_share(0.5)?;
    let breaker = breaker(config.with_min_calls(4)?);
    for _ in 0..3 {
        assert_eq!(fail(&breaker, 0), None);
    }

    assert_eq!(fail(&breaker, 10 * SECOND), None, "ten seconds later");
    assert_eq!(breaker.status(10 * SECOND).calls.failed, 1);
    Ok(())
}

#[test]
fn open_it_rejects_and_says_until_when() {
    let breaker = breaker(of_three());
    let until = trip(&breaker, SECOND);

    for now in [SECOND, until - TICK, until - 1] {
        let rejected = breaker.ask(now).verdict.unwrap_err();
        assert_eq!(rejected.by, RejectedBy::Open);
        assert_eq!(rejected.retry_after.as_nanos() as u64, until - now);
    }
    assert!(breaker.ask(until).is_passed());
}

#[test]
fn the_open_time_doubles_up_to_its_bound_and_half_of_it_is_chance() {
    let mut seen = Vec::new();
    for seed in 0..50 {
        let breaker = Breaker::new(of_three(), seed).unwrap();
        let mut now = 0;
        for doubled in [1, 2, 4, 8, 16, 30, 30, 30] {
            let until = trip(&breaker, now);
            let open = until - now;
            let full = doubled * SECOND;
            assert!(open >= full / 2 && open <= full + TICK, "{open} of {full}");
            seen.push(open as f64 / full as f64);
            now = until;
        }
    }

    let mean = seen.iter().sum::<f64>() / seen.len() as f64;
    assert!((0.7..0.8).contains(&mean), "{mean}");
}

#[test]
fn after_a_calm_time_the_open_time_begins_anew() {
    let open_after = |calm: u64| {
        let breaker = breaker(of_three().with_ramp(Duration::ZERO).unwrap());
        let mut now = 0;
        for _ in 0..4 {
            now = trip(&breaker, now);
        }
        while !breaker.is_closed(now) {
            let _ = good(&breaker, now);
        }
        trip(&breaker, now + calm) - (now + calm)
    };

    assert!(open_after(0) >= 8 * SECOND, "sixteen, half of it chance");
    assert!(open_after(9 * SECOND) >= 8 * SECOND);
    assert!(open_after(11 * SECOND) <= SECOND + TICK);
}

#[test]
fn two_seeds_do_not_probe_at_once() {
    let until = |seed| trip(&Breaker::new(of_three(), seed).unwrap(), 0);

    let mut instants: Vec<u64> = (0..20).map(until).collect();
    instants.sort_unstable();
    instants.dedup();

    assert!(instants.len() >= 19, "{instants:?}");
}

#[test]
fn abandoned_calls_count_as_nothing() {
    let breaker = breaker(of_three());

    for _ in 0..10 {
        breaker.abandon(pass(&breaker, 0));
    }

    assert_eq!(breaker.status(0).calls.calls, 0);
}

#[test]
fn calls_from_before_the_trip_are_ignored_after_it() {
    let breaker = breaker(of_three().with_ramp(Duration::ZERO).unwrap());
    let old: Vec<Permit> = (0..9).map(|_| pass(&breaker, 0)).collect();
    let until = trip(&breaker, 0);
    let mut old = old.into_iter();
    let late = |permit, now| breaker.record(permit, CallEnd::failed(SOON), now);

    for permit in old.by_ref().take(3) {
        assert_eq!(late(permit, 1), None, "while open");
    }
    let probe = pass(&breaker, until);
    for permit in old.by_ref().take(3) {
        assert_eq!(late(permit, until), None, "while half-open");
    }
    breaker.abandon(probe);
    while !breaker.is_closed(until) {
        let _ = good(&breaker, until);
    }
    for permit in old {
        assert_eq!(late(permit, until), None, "when closed again");
    }

    assert_eq!(breaker.status(until).calls.calls, 0);
    assert!(breaker.is_closed(until));
}

#[test]
fn a_changed_config_keeps_the_state_and_judges_anew() {
    let old = breaker(of_three());
    let permit = pass(&old, 0);
    let until = trip(&old, 0);

    let open = old.with_config(of_three().with_ramp(Duration::ZERO).unwrap());
    let open = open.unwrap();

    assert_eq!(
        open.ask(until - 1).verdict.unwrap_err().by,
        RejectedBy::Open
    );
    assert_eq!(open.record(permit, CallEnd::failed(SOON), 1), None);
    let probe = pass(&open, until);
    assert!(probe.is_probe());
    assert_eq!(open.record(probe, CallEnd::succeeded(SOON), until), None);
    assert!(old.with_config(BreakerConfig::new()).is_err());
}
