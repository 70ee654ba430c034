//! What whoever is rejected is told.

use std::time::Duration;

use super::shell::{LOW, MS};
use crate::context::Tier;
use crate::decide::admission::{
    AdmissionConfig, AdmissionQueue, Explanation, Gate, Measured, Next, Offer, Rejection, Waiter,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A queue of at most 20 in which each of 10 permits came so many milliseconds after the one before,
/// and in which 10 of tier `LOW` wait.
fn queue(pace_ms: u64) -> (AdmissionQueue, u64) {
    let config = AdmissionConfig {
        waiting_max: 20,
        wait_max: Duration::from_secs(300),
        ..AdmissionConfig::default()
    };
    let mut queue = AdmissionQueue::new(config).unwrap();
    let gate = Gate::new(100);
    for _ in 0..20 {
        assert!(matches!(queue.offer(Waiter::new(LOW), 0), Offer::Queued(_)));
    }
    for permit in 1..=10 {
        assert!(matches!(
            queue.next(&gate, permit * pace_ms * MS),
            Some(Next::Admit(_))
        ));
    }
    (queue, 10 * pace_ms * MS)
}

#[test]
fn an_arrival_that_could_not_finish_hears_what_it_would_take_and_what_it_has() {
    let (mut queue, now) = queue(5);
    let waiter = Waiter {
        deadline: now + 45 * MS,
        service_ns: 7 * MS,
        ..Waiter::new(LOW)
    };

    assert_eq!(
        queue.offer(waiter, now),
        Offer::Rejected(Rejection::TooLate)
    );
    let told = queue.explain_arrival(Rejection::TooLate, &waiter, now);

    assert_eq!(
        told,
        Explanation {
            reason: Rejection::TooLate,
            measured: Measured::Answer {
                limit: ms(45),
                observed: ms(57),
            },
            // Ten are ahead, five milliseconds each; but no sooner than the pace can change.
            retry_after: ms(100),
        }
    );
    assert_eq!(
        told.to_string(),
        "an answer would take 57ms, and 45ms are left"
    );
}

#[test]
fn the_retry_after_is_the_time_in_which_those_who_wait_are_served() {
    let cases = [(1, 100), (30, 300), (500, 5_000), (29_000, 30_000)];

    for (pace_ms, expected_ms) in cases {
        let (queue, now) = queue(pace_ms);
        let told = queue.explain_arrival(Rejection::Full, &Waiter::new(LOW), now);
        assert_eq!(told.retry_after, ms(expected_ms), "{pace_ms} ms");

        let core = queue.explain_arrival(Rejection::Full, &Waiter::new(Tier::CORE), now);
        assert_eq!(core.retry_after, ms(100), "nobody is ahead of core");
    }
}

#[test]
fn who_waited_in_vain_hears_for_how_long() {
    let (mut queue, now) = queue(1);
    let waiter = Waiter {
        deadline: now + 80 * MS,
        service_ns: 20 * MS,
        ..Waiter::new(Tier::CORE)
    };
    let Offer::Queued(queued) = queue.offer(waiter, now) else {
        panic!("there is room");
    };

    let next = queue.next(&Gate::new(1), now + 61 * MS);

    assert_eq!(next, Some(Next::TooLate(queued.ticket)));
    let told = queue.explain_waiter(Rejection::TooLate, queued.ticket, now + 61 * MS);
    assert_eq!(
        told.measured,
        Measured::Waited {
            limit: ms(60),
            observed: ms(61),
        }
    );
    assert_eq!(
        told.to_string(),
        "it has waited for 61ms, and 60ms were possible"
    );
}

#[test]
fn who_is_displaced_hears_of_the_bound_on_waiting() {
    let (mut queue, now) = queue(1);
    for _ in 0..10 {
        assert!(matches!(
            queue.offer(Waiter::new(LOW), now),
            Offer::Queued(_)
        ));
    }

    let Offer::Displacing(_, victim) = queue.offer(Waiter::new(Tier::CORE), now) else {
        panic!("it is full of less important ones");
    };

    let told = queue.explain_waiter(Rejection::Displaced, victim, now);
    assert_eq!(
        told.measured,
        Measured::Waiting {
            limit: 20,
            observed: 20,
        }
    );
    assert_eq!(
        told.to_string(),
        "20 requests wait, at most 20 may, and the place went to one that is served earlier"
    );
}

#[test]
fn a_stall_is_noticed_while_it_lasts() {
    let (queue, now) = queue(4);
    let behind = Tier::new(LOW.number() + 1).unwrap();

    let waits = [0, 4, 100, 1_000].map(|ms| queue.expected_wait_ns(behind, now + ms * MS) / MS);

    // As if the missing permit came now, at the weight of an eighth.
    assert_eq!(waits, [40, 40, 160, 1_285]);
}
