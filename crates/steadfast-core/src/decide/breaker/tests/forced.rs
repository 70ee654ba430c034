//! The word of an operator.

use super::*;
use crate::decide::breaker::{Override, RejectedBy};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn forced_open_it_rejects_until_the_override_ends() {
    let breaker = breaker(of_three());
    breaker.force(Override::Open, MINUTE, SECOND).unwrap();

    let rejected = breaker.ask(2 * SECOND).verdict.unwrap_err();

    assert_eq!(rejected.by, RejectedBy::Forced);
    assert!(rejected.retry_after >= Duration::from_secs(59));
    assert!(!breaker.is_closed(2 * SECOND));
    assert!(breaker.ask(61 * SECOND + TICK).is_passed());
    assert_eq!(breaker.status(61 * SECOND + TICK).forced, None);
}

#[test]
fn forced_closed_it_counts_and_does_not_trip_until_the_override_ends() {
    let breaker = breaker(of_three());
    breaker.force(Override::Closed, MINUTE, 0).unwrap();

    for _ in 0..10 {
        assert_eq!(fail(&breaker, SECOND), None);
    }

    assert_eq!(breaker.status(SECOND).calls.failed, 10);
    assert!(breaker.is_closed(SECOND));
    assert!(fail(&breaker, 60 * SECOND + TICK).is_some());
}

#[test]
fn forced_closed_while_open_lets_calls_pass_that_do_not_count() {
    let breaker = breaker(of_three());
    trip(&breaker, 0);
    breaker.force(Override::Closed, MINUTE, 0).unwrap();

    for _ in 0..10 {
        assert_eq!(good(&breaker, 1), None);
    }

    assert!(matches!(breaker.status(1).state, BreakerState::Open { .. }));
    assert!(!breaker.is_closed(1), "nobody knows that it works");
    breaker.release();
    assert!(!breaker.ask(1).is_passed());
}

#[test]
fn disabled_it_is_as_if_it_were_not_there() {
    let breaker = breaker(of_three());
    breaker.force(Override::Disabled, MINUTE, 0).unwrap();

    for _ in 0..10 {
        assert_eq!(fail(&breaker, 0), None);
    }

    assert_eq!(breaker.status(0).calls.calls, 0);
    let (over, left) = breaker.status(0).forced.unwrap();
    assert_eq!(over, Override::Disabled);
    assert!(left >= MINUTE);
}

#[test]
fn the_newest_override_counts() {
    let breaker = breaker(of_three());
    breaker.force(Override::Open, MINUTE, 0).unwrap();

    breaker.force(Override::Closed, MINUTE, 0).unwrap();

    assert!(breaker.ask(0).is_passed());
}

#[test]
fn an_override_without_an_end_is_refused() {
    let breaker = breaker(of_three());
    let longest = Breaker::LONGEST_OVERRIDE;

    for lasts in [Duration::ZERO, longest + millis(1), Duration::MAX] {
        let message = breaker.force(Override::Open, lasts, 0).unwrap_err();
        assert!(message.to_string().ends_with("up to 86400s"), "{message}");
    }
    assert!(breaker.force(Override::Open, longest, 0).is_ok());
}

#[test]
fn an_override_outlives_a_changed_config() {
    let old = breaker(of_three());
    old.force(Override::Open, MINUTE, 0).unwrap();

    let new = old.with_config(of_three()).unwrap();

    assert_eq!(new.ask(0).verdict.unwrap_err().by, RejectedBy::Forced);
}
