//! Every interleaving of a few threads over a ring that turns.

use std::sync::Arc;

use loom::thread;

use super::ring::Ring;

const WIDTH: u64 = Ring::SHORTEST_WINDOW_NS;

const OLD: usize = 0;
const NEW: usize = 1;

fn add(ring: &Ring, now: u64) {
    ring.add(ring.slot_at(now), 0);
}

fn sum(ring: &Ring, now: u64, ages: std::ops::Range<u64>) -> u32 {
    ring.slots(now, ages)
        .flat_map(|slot| ring.cells(slot))
        .sum()
}

#[test]
fn samples_that_meet_a_turn_are_counted_once_and_not_too_early() {
    loom::model(|| {
        let ring = Arc::new(Ring::new(WIDTH, 2, 1, 0));
        add(&ring, 0);

        let threads = [WIDTH, WIDTH].map(|now| {
            let ring = ring.clone();
            thread::spawn(move || add(&ring, now))
        });
        for thread in threads {
            thread.join().unwrap();
        }

        assert_eq!(sum(&ring, WIDTH, 0..2), 3);
        assert_eq!(sum(&ring, WIDTH, 0..1), 2);
    });
}

#[test]
fn samples_of_two_windows_lose_nothing_though_both_turn() {
    loom::model(|| {
        let ring = Arc::new(Ring::new(WIDTH, 3, 1, 0));

        let threads = [WIDTH, 2 * WIDTH].map(|now| {
            let ring = ring.clone();
            thread::spawn(move || add(&ring, now))
        });
        for thread in threads {
            thread.join().unwrap();
        }

        assert_eq!(sum(&ring, 2 * WIDTH, 0..3), 2);
    });
}

#[test]
fn a_slot_that_is_used_again_starts_empty() {
    loom::model(|| {
        // Three slots: the head is the second one, and the next turn empties the first.
        let ring = Arc::new(Ring::new(WIDTH, 1, 2, 0));
        let add = |ring: &Ring, now, cell| ring.add(ring.slot_at(now), cell);
        add(&ring, 0, OLD);
        add(&ring, WIDTH, OLD);

        let other = ring.clone();
        let turning = thread::spawn(move || add(&other, 2 * WIDTH, NEW));
        add(&ring, 3 * WIDTH, NEW);
        turning.join().unwrap();
        add(&ring, 3 * WIDTH, NEW);

        let head = ring.slots(3 * WIDTH, 0..1).next().unwrap();
        let held: Vec<u32> = ring.cells(head).collect();
        assert_eq!(held[OLD], 0);
        // The first of this thread met a turn, perhaps, and counts in the window before.
        assert!((1..=3).contains(&held[NEW]), "{held:?}");
    });
}

#[test]
fn a_reading_sees_no_more_than_there_is() {
    loom::model(|| {
        let ring = Arc::new(Ring::new(WIDTH, 2, 1, 0));
        add(&ring, 0);
        add(&ring, 0);

        let other = ring.clone();
        let adding = thread::spawn(move || {
            add(&other, WIDTH);
            add(&other, WIDTH);
        });
        let seen = sum(&ring, WIDTH, 0..2);
        adding.join().unwrap();

        assert!((2..=4).contains(&seen), "the first window is seen whole");
        assert_eq!(sum(&ring, WIDTH, 0..2), 4);
    });
}

#[test]
fn after_a_restart_nothing_of_before_is_read() {
    loom::model(|| {
        let ring = Arc::new(Ring::new(WIDTH, 2, 1, 0));
        add(&ring, 0);
        add(&ring, 0);

        let other = ring.clone();
        let turning = thread::spawn(move || add(&other, WIDTH));
        ring.restart(WIDTH);
        turning.join().unwrap();

        assert!(sum(&ring, WIDTH, 0..2) <= 1, "only the other thread's");
    });
}
