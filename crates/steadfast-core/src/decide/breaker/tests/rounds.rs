//! Half-open: who probes, what is judged, and how it comes back.

use super::*;
use crate::decide::breaker::{RejectedBy, TripReason};

const PATIENCE: u64 = 10 * SECOND;

/// A breaker that is half-open, one probe of ten under way, and the instant.
fn half_open() -> (Breaker, Permit, u64) {
    let breaker = breaker(of_three().with_failure_share(0.25).unwrap());
    let now = trip(&breaker, 0);
    let answer = breaker.ask(now);
    assert_eq!(answer.change, Some(Change::Probing));
    (breaker, answer.verdict.unwrap(), now)
}

#[test]
fn as_many_probes_pass_as_are_allowed_and_no_more() {
    let (breaker, _first, now) = half_open();

    let probes = (0..100)
        .filter_map(|_| breaker.ask(now).verdict.ok())
        .filter(Permit::is_probe)
        .count();

    assert_eq!(probes, 9);
    let rejected = breaker.ask(now).verdict.unwrap_err();
    assert_eq!(rejected.by, RejectedBy::HalfOpen);
    assert!(rejected.retry_after.as_nanos() as u64 >= PATIENCE);
}

#[test]
fn an_abandoned_permit_goes_to_the_next_call() {
    let (breaker, first, now) = half_open();
    let _others: Vec<Permit> = (0..9).map(|_| pass(&breaker, now)).collect();
    assert!(!breaker.ask(now).is_passed());

    breaker.abandon(first);

    assert!(breaker.ask(now).is_passed());
    assert!(!breaker.ask(now).is_passed());
}

#[test]
fn a_round_that_went_well_begins_a_ramp() {
    let (breaker, first, now) = half_open();
    let mut permits = vec![first];
    permits.extend((0..9).map(|_| pass(&breaker, now)));

    let changes: Vec<Change> = permits
        .into_iter()
        .filter_map(|permit| breaker.record(permit, CallEnd::succeeded(SOON), now))
        .collect();

    assert_eq!(changes, [Change::Recovering], "once, though ten were good");
    assert_eq!(breaker.status(now).calls.calls, 0, "with an empty window");
}

#[test]
fn a_round_with_too_many_failures_opens_again_for_longer() {
    let (breaker, first, now) = half_open();
    let bad = CallEnd::failed(SOON);

    assert_eq!(breaker.record(first, bad, now), None);
    assert_eq!(fail(&breaker, now), None);
    let change = fail(&breaker, now).unwrap();

    let (failed, slow, ended) = (3, 0, 3);
    let reason = TripReason::Probes {
        failed,
        slow,
        ended,
    };
    assert!(matches!(change, Change::Tripped { reason: seen, .. } if seen == reason));
    assert!(left(&breaker, now) >= SECOND);
}

#[test]
fn answers_of_an_old_round_are_ignored_in_the_new_one() {
    let (breaker, first, now) = half_open();
    let others: Vec<Permit> = (0..3).map(|_| pass(&breaker, now)).collect();
    for permit in others {
        let _ = breaker.record(permit, CallEnd::failed(SOON), now);
    }
    let again = now + left(&breaker, now);
    let new = pass(&breaker, again);
    let before = breaker.status(again);
    assert_eq!(before.round, 2);

    assert_eq!(breaker.record(first, CallEnd::succeeded(SOON), again), None);

    assert_eq!(breaker.status(again), before);
    breaker.abandon(new);
}

#[test]
fn lost_permits_end_with_their_round() {
    let (breaker, first, now) = half_open();
    let lost: Vec<Permit> = (0..9).map(|_| pass(&breaker, now)).collect();
    drop((first, lost));

    let answer = breaker.ask(now + PATIENCE + TICK);

    let reason = TripReason::NoProbeCameBack;
    let change = answer.change.unwrap();
    assert!(matches!(change, Change::Tripped { reason: seen, .. } if seen == reason));
    let again = now + PATIENCE + TICK + left(&breaker, now + PATIENCE + TICK);
    assert!(breaker.ask(again).is_passed());
}

#[test]
fn a_round_whose_permits_were_all_abandoned_begins_anew() {
    let (breaker, first, now) = half_open();
    breaker.abandon(first);

    let answer = breaker.ask(now + PATIENCE + TICK);

    assert_eq!(answer.change, Some(Change::Probing));
    assert!(answer.is_passed());
}

#[test]
fn a_round_that_does_not_fill_is_judged_by_what_came_back() {
    let end = |ends: &[bool]| {
        let (breaker, first, now) = half_open();
        breaker.abandon(first);
        for &failed in ends {
            let _ = if failed {
                fail(&breaker, now)
            } else {
                good(&breaker, now)
            };
        }
        let _lost = pass(&breaker, now);
        breaker.ask(now + PATIENCE + TICK).change.unwrap()
    };

    assert_eq!(end(&[false]), Change::Recovering);
    assert_eq!(end(&[false; 5]), Change::Recovering);
    assert!(matches!(end(&[false, true]), Change::Tripped { .. }));
}

#[test]
fn a_quiet_route_needs_no_ramp() {
    let (breaker, first, now) = half_open();
    let _ = breaker.record(first, CallEnd::succeeded(SOON), now);

    // The next call comes long after the round and the ramp that would have followed.
    let answer = breaker.ask(now + 60 * SECOND);

    assert!(answer.is_passed());
    assert!(breaker.is_closed(now + 60 * SECOND));
}

#[test]
fn slow_probes_fail_a_round_where_slow_calls_trip() {
    let config = of_three().with_slow(millis(800), 0.5).unwrap();
    let breaker = breaker(config);
    let now = trip(&breaker, 0);

    let changes: Vec<Change> = (0..5).filter_map(|_| slow(&breaker, now)).collect();

    assert!(
        matches!(changes[..], [Change::Tripped { .. }]),
        "{changes:?}"
    );
}

/// A breaker at the beginning of its ramp.
fn ramp() -> (Breaker, u64) {
    let (breaker, first, now) = half_open();
    breaker.abandon(first);
    while !matches!(breaker.status(now).state, BreakerState::Ramp { .. }) {
        let _ = good(&breaker, now);
    }
    (breaker, now)
}

#[test]
fn a_ramp_lets_a_growing_share_pass_until_all_do() {
    let (breaker, begin) = ramp();
    let mut passed = Vec::new();
    for second in 0..5 {
        let answers = (0..1_000).map(|call| {
            let now = begin + second * SECOND + call * MS;
            let answer = breaker.ask(now);
            assert_eq!(answer.change, None);
            u32::from(answer.is_passed())
        });
        passed.push(answers.sum::<u32>());
    }

    // From a tenth to all, in a line: the middle of each fifth.
    for (passed, share) in passed.iter().zip([190, 370, 550, 730, 910]) {
        assert!(
            passed.abs_diff(share) <= 15,
            "{passed} of 1000, not {share}"
        );
    }
    let answer = breaker.ask(begin + 5 * SECOND);
    assert!(answer.is_passed());
    assert_eq!(answer.change, Some(Change::Recovered));
    assert!(breaker.is_closed(begin + 5 * SECOND));
}

#[test]
fn a_call_that_a_ramp_rejects_is_told_when_all_pass() {
    let (breaker, begin) = ramp();

    let rejected = (0..100)
        .find_map(|_| breaker.ask(begin + SECOND).verdict.err())
        .unwrap();

    assert_eq!(rejected.by, RejectedBy::Ramp);
    assert!(rejected.retry_after <= millis(4_000) && rejected.retry_after > millis(3_990));
}

#[test]
fn a_ramp_trips_as_if_closed_and_stays_open_for_longer() {
    let (breaker, begin) = ramp();
    let mut now = begin;
    let mut changes = Vec::new();
    while changes.is_empty() {
        now += MS;
        if let Ok(permit) = breaker.ask(now).verdict {
            changes.extend(breaker.record(permit, CallEnd::failed(SOON), now));
        }
    }

    assert!(matches!(changes[..], [Change::Tripped { open_for, .. }] if open_for >= millis(1_000)));
}
