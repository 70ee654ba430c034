//! S8: what a rejection costs in process, measured.

use std::sync::Mutex;

use steadfast::clock;
use steadfast::context::Tier;
use steadfast::decide::admission::{AdmissionConfig, AdmissionQueue, Gate, Offer, Waiter};

/// The budget, in nanoseconds. Ten times as much in a build without optimization: what then remains
/// of the check is that the price does not grow with those who wait.
const BUDGET_NS: u64 = if cfg!(debug_assertions) {
    10_000
} else {
    1_000
};

const BATCHES: u32 = 100;
const BATCH: u64 = 1_000;

/// A gate that is full and a queue in which everybody waits who may.
fn full(users: u64) -> (Gate, Mutex<AdmissionQueue>) {
    let gate = Gate::new(1);
    assert!(gate.try_enter(Tier::DEFAULT));
    let config = AdmissionConfig::default();
    let mut queue = AdmissionQueue::new(config).expect("the default");
    for place in 0..u64::from(config.waiting_max) {
        let _ = queue.offer(waiter(place % users), 0);
    }
    queue.fill(&gate, 0, |_| unreachable!("there is no room"));
    (gate, Mutex::new(queue))
}

fn waiter(user: u64) -> Waiter {
    Waiter {
        user,
        ..Waiter::new(Tier::DEFAULT)
    }
}

/// Returns what a rejection takes in the quickest batch, which nothing else disturbed.
fn price_ns(users: u64, now: u64) -> u64 {
    let (gate, queue) = full(users);
    let mut best = u64::MAX;
    for _ in 0..BATCHES {
        let began = clock::nanos();
        for arrival in 0..BATCH {
            assert!(!gate.try_enter(Tier::DEFAULT));
            let mut queue = queue.lock().unwrap();
            let offer = queue.offer(waiter(arrival % users), now);
            assert!(!matches!(offer, Offer::Queued(_)), "somebody has to go");
            queue.fill(&gate, now, |_| unreachable!("there is no room"));
        }
        best = best.min((clock::nanos() - began) / BATCH);
    }
    best
}

#[test]
fn a_rejection_in_process_costs_at_most_a_microsecond() {
    let (burst, standing) = (0, 900_000_000);

    for (users, now) in [(1, burst), (1, standing), (1_000, burst), (1_000, standing)] {
        let price = price_ns(users, now);

        assert!(
            price <= BUDGET_NS,
            "{price} ns with {users} users at {now} ns"
        );
    }
}
