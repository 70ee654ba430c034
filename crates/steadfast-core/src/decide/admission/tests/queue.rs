//! What the queue promises, seen from its public face.

use std::time::Duration;

use proptest::prelude::*;

use crate::context::Tier;
use crate::decide::admission::{
    AdmissionConfig, AdmissionQueue, Gate, Next, Offer, Rejection, Ticket, Waiter,
};

const MS: u64 = 1_000_000;

const LOWEST: Tier = Tier::new(7).unwrap();

fn queue(waiting_max: u32) -> AdmissionQueue {
    AdmissionQueue::new(AdmissionConfig {
        waiting_max,
        ..AdmissionConfig::default()
    })
    .unwrap()
}

fn wait(queue: &mut AdmissionQueue, tier: Tier, now: u64) -> Ticket {
    match queue.offer(Waiter::new(tier), now) {
        Offer::Queued(queued) | Offer::Displacing(queued, _) => queued.ticket,
        Offer::Rejected(why) => panic!("{why:?}"),
    }
}

fn admitted(queue: &mut AdmissionQueue, gate: &Gate, now: u64) -> Ticket {
    match queue.next(gate, now) {
        Some(Next::Admit(ticket)) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_more_important_tier_is_served_first() {
    let (gate, mut queue) = (Gate::new(10), queue(10));
    let low = wait(&mut queue, LOWEST, 0);
    let core = wait(&mut queue, Tier::CORE, 0);
    let default = wait(&mut queue, Tier::DEFAULT, 0);

    let order = [(); 3].map(|()| admitted(&mut queue, &gate, 1));

    assert_eq!(order, [core, default, low]);
    assert_eq!(queue.next(&gate, 1), None);
}

#[test]
fn a_full_queue_has_a_place_for_the_more_important_and_evicts_who_would_be_last() {
    let mut queue = queue(3);
    let _first = wait(&mut queue, LOWEST, 0);
    let last = wait(&mut queue, LOWEST, 0);
    wait(&mut queue, Tier::DEFAULT, 0);

    let offer = queue.offer(Waiter::new(Tier::CORE), 0);

    assert!(matches!(offer, Offer::Displacing(_, victim) if victim == last));
    assert_eq!(
        queue.offer(Waiter::new(LOWEST), 0),
        Offer::Rejected(Rejection::Full),
        "it would be served last itself"
    );
    assert_eq!(queue.len_of(LOWEST), 1);
}

#[test]
fn in_a_standing_queue_the_oldest_makes_room_for_the_newest() {
    let mut queue = queue(2);
    let oldest = wait(&mut queue, LOWEST, 0);
    wait(&mut queue, LOWEST, 1);

    let offer = queue.offer(Waiter::new(LOWEST), 200 * MS);

    assert!(matches!(offer, Offer::Displacing(_, victim) if victim == oldest));
}

#[test]
fn less_important_tiers_never_take_a_place() {
    let mut queue = queue(2);
    wait(&mut queue, Tier::CORE, 0);
    wait(&mut queue, Tier::CORE, 0);

    let offer = queue.offer(Waiter::new(Tier::DEFAULT), 500 * MS);

    assert_eq!(offer, Offer::Rejected(Rejection::Full));
    assert_eq!(queue.len_of(Tier::CORE), 2);
}

#[test]
fn a_guaranteed_share_of_places_and_permits_cannot_be_taken() {
    let mut config = AdmissionConfig {
        waiting_max: 10,
        ..AdmissionConfig::default()
    };
    config.guaranteed[7] = 20;
    let (gate, mut queue) = (Gate::new(10), AdmissionQueue::new(config).unwrap());
    for _ in 0..10 {
        wait(&mut queue, Tier::CORE, 0);
    }

    // Two of ten places are the lowest tier's, though core had borrowed them.
    let low = [(); 2].map(|()| wait(&mut queue, LOWEST, 0));
    assert_eq!(
        queue.offer(Waiter::new(LOWEST), 0),
        Offer::Rejected(Rejection::Full)
    );
    assert_eq!(
        queue.offer(Waiter::new(Tier::CORE), 0),
        Offer::Rejected(Rejection::Full)
    );

    // And two of ten permits, before core gets any; then importance decides.
    let order = [(); 3].map(|()| admitted(&mut queue, &gate, 1));
    assert_eq!(order[..2], low);
    assert_eq!(order[2].tier(), Tier::CORE);
}

#[test]
fn what_cannot_be_answered_in_time_is_rejected_on_arrival() {
    let (gate, mut queue) = (Gate::new(10), queue(100));
    for _ in 0..50 {
        wait(&mut queue, Tier::DEFAULT, 0);
    }
    // One permit a millisecond, so that 40 are ahead for 40 ms.
    for permit in 1..=10 {
        admitted(&mut queue, &gate, permit * MS);
    }
    let now = 10 * MS;
    let waiter = Waiter {
        deadline: now + 45 * MS,
        ..Waiter::new(Tier::DEFAULT)
    };

    assert_eq!(queue.expected_wait_ns(Tier::DEFAULT, now), 40 * MS);
    assert_eq!(queue.expected_wait_ns(Tier::CORE, now), 0);
    let slow = Waiter {
        service_ns: 6 * MS,
        ..waiter
    };
    assert_eq!(queue.offer(slow, now), Offer::Rejected(Rejection::TooLate));
    assert!(matches!(queue.offer(waiter, now), Offer::Queued(_)));
}

#[test]
fn who_has_waited_too_long_is_not_served() {
    let (gate, mut queue) = (Gate::new(10), queue(10));
    let waiter = Waiter {
        deadline: 50 * MS,
        service_ns: 10 * MS,
        ..Waiter::new(Tier::CORE)
    };
    let Offer::Queued(early) = queue.offer(waiter, 0) else {
        panic!("there is room");
    };
    let patient = wait(&mut queue, Tier::CORE, 0);

    assert_eq!(early.leave_at, 40 * MS);
    assert_eq!(
        queue.next(&gate, 41 * MS),
        Some(Next::TooLate(early.ticket))
    );
    assert_eq!(admitted(&mut queue, &gate, 41 * MS), patient);
}

#[test]
fn nobody_waits_longer_than_the_bound() {
    let mut queue = AdmissionQueue::new(AdmissionConfig {
        wait_max: Duration::from_millis(300),
        ..AdmissionConfig::default()
    })
    .unwrap();

    let offer = queue.offer(Waiter::new(Tier::CORE), 7);

    assert!(matches!(offer, Offer::Queued(queued) if queued.leave_at == 300 * MS + 7));
}

#[test]
fn a_client_that_leaves_frees_its_place_once() {
    let (gate, mut queue) = (Gate::new(10), queue(10));
    let ticket = wait(&mut queue, Tier::CORE, 0);

    assert!(queue.remove(ticket));
    assert!(!queue.remove(ticket));

    assert!(queue.is_empty());
    assert_eq!(queue.next(&gate, 1), None);
}

proptest! {
    #[test]
    fn everybody_ends_once_and_the_bound_holds(
        steps in prop::collection::vec((0u8..4, 0u8..3, 0u64..4, 0u64..400), 0..200),
        shares in prop::array::uniform3(0u8..33),
    ) {
        let mut config = AdmissionConfig { waiting_max: 8, ..AdmissionConfig::default() };
        config.guaranteed[..3].copy_from_slice(&shares);
        let (gate, mut queue) = (Gate::new(5), AdmissionQueue::new(config).unwrap());
        let mut waiting = std::collections::BTreeSet::new();
        let mut now = 0;

        for (step, tier, user, later_ms) in steps {
            now += later_ms * MS / 10;
            match step {
                0 => match queue.next(&gate, now) {
                    Some(Next::Admit(ticket) | Next::TooLate(ticket)) => {
                        prop_assert!(waiting.remove(&ticket));
                    }
                    None => prop_assert!(waiting.is_empty()),
                },
                1 if !waiting.is_empty() => {
                    let ticket = *waiting.iter().nth(user as usize % waiting.len()).unwrap();
                    waiting.remove(&ticket);
                    prop_assert!(queue.remove(ticket));
                }
                _ => {
                    let tier = Tier::new(tier).unwrap();
                    let deadline = now + later_ms * MS;
                    match queue.offer(Waiter { user, deadline, ..Waiter::new(tier) }, now) {
                        Offer::Queued(queued) => {
                            waiting.insert(queued.ticket);
                        }
                        Offer::Displacing(queued, victim) => {
                            prop_assert!(waiting.remove(&victim));
                            waiting.insert(queued.ticket);
                        }
                        Offer::Rejected(_) => {}
                    }
                }
            }
            prop_assert_eq!(queue.len(), waiting.len());
            prop_assert!(queue.len() <= 8);
        }
    }
}
