//! Every interleaving of a few threads over one breaker.

use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use super::{Breaker, BreakerConfig, CallEnd, Change};

const SECOND: u64 = 1_000_000_000;
const SOON: Duration = Duration::from_millis(1);

fn breaker(probes: u32) -> Arc<Breaker> {
    let config = BreakerConfig::new()
        .with_consecutive(2)
        .unwrap()
        .with_probes(probes, Duration::from_secs(1))
        .unwrap()
        .with_ramp(Duration::ZERO)
        .unwrap();
    Arc::new(Breaker::new(config, 1).unwrap())
}

fn trip(breaker: &Breaker, now: u64) {
    let permits = [0; 2].map(|_| breaker.ask(now).verdict.unwrap());
    for permit in permits {
        breaker.record(permit, CallEnd::failed(SOON), now);
    }
    assert!(!breaker.is_closed(now));
}

#[test]
fn failures_of_two_threads_trip_once() {
    loom::model(|| {
        let breaker = breaker(1);
        let fail = |breaker: &Breaker| {
            let permit = breaker.ask(0).verdict.ok()?;
            breaker.record(permit, CallEnd::failed(SOON), 0)
        };
        let other = breaker.clone();

        let there = thread::spawn(move || fail(&other));
        let here = fail(&breaker);
        let there = there.join().unwrap();

        let tripped = [here, there].into_iter().flatten().count();
        assert_eq!((tripped, breaker.is_closed(0)), (1, false));
    });
}

#[test]
fn two_threads_begin_one_round_and_share_its_permit() {
    loom::model(|| {
        let breaker = breaker(1);
        trip(&breaker, 0);
        let ask = |breaker: &Breaker| {
            let answer = breaker.ask(2 * SECOND);
            (answer.change.is_some(), answer.is_passed())
        };
        let other = breaker.clone();

        let there = thread::spawn(move || ask(&other));
        let here = ask(&breaker);
        let both = [here, there.join().unwrap()];

        assert_eq!(both.iter().filter(|(began, _)| *began).count(), 1);
        assert_eq!(both.iter().filter(|(_, passed)| *passed).count(), 1);
    });
}

#[test]
fn two_good_probes_close_once() {
    loom::model(|| {
        let breaker = breaker(2);
        trip(&breaker, 0);
        let permits = [0; 2].map(|_| breaker.ask(2 * SECOND).verdict.unwrap());

        let threads = permits.map(|permit| {
            let breaker = breaker.clone();
            let end = CallEnd::succeeded(SOON);
            thread::spawn(move || breaker.record(permit, end, 2 * SECOND))
        });
        let changes: Vec<Change> = threads
            .into_iter()
            .filter_map(|thread| thread.join().unwrap())
            .collect();

        assert_eq!(changes, [Change::Recovered]);
        assert!(breaker.is_closed(2 * SECOND));
        assert_eq!(
            breaker.status(2 * SECOND).calls.failed,
            0,
            "the old window is gone"
        );
    });
}

#[test]
fn a_permit_of_an_old_round_meets_the_new_one_and_changes_nothing() {
    loom::model(|| {
        let breaker = breaker(1);
        trip(&breaker, 0);
        let old = breaker.ask(2 * SECOND).verdict.unwrap();

        let other = breaker.clone();
        // Its round is over, and so is the open time that followed.
        let late = thread::spawn(move || {
            other.record(old, CallEnd::succeeded(SOON), 20 * SECOND);
        });
        let first = breaker.ask(10 * SECOND);
        let second = breaker.ask(15 * SECOND);
        late.join().unwrap();

        match breaker.status(15 * SECOND).round {
            // The probe came in time for its round, and closed it.
            1 => assert!(breaker.is_closed(15 * SECOND) || first.verdict.is_err()),
            2 => assert!(second.is_passed() && !breaker.is_closed(15 * SECOND)),
            round => panic!("round {round}"),
        }
    });
}

#[test]
fn a_permit_that_is_given_back_goes_to_one_other() {
    loom::model(|| {
        let breaker = breaker(1);
        trip(&breaker, 0);
        let permit = breaker.ask(2 * SECOND).verdict.unwrap();

        let other = breaker.clone();
        let back = thread::spawn(move || other.abandon(permit));
        let early = breaker.ask(2 * SECOND).is_passed();
        back.join().unwrap();
        let late = breaker.ask(2 * SECOND).is_passed();

        assert!(early ^ late);
    });
}
