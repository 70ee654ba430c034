//! How many batches at once, where writers wait for each other.

use super::*;

/// So many writers, each with a batch in flight.
fn in_flight(writers: u32) -> InFlight {
    let mut batches = InFlight::default();
    for _ in 0..writers {
        batches.joined(2);
        batches.started();
    }
    batches
}

#[test]
fn turns_come_back_once_fewer_wait() {
    let mut batches = in_flight(8);
    batches.looked(Some(7), 0);
    assert_eq!(batches.permits(0), 3);
    for _ in 0..5 {
        batches.ended();
    }

    let (mut look, mut permits) = (0, Vec::new());
    let mut looks = |batches: &mut InFlight, waiters, count| {
        for _ in 0..count {
            look += 1;
            batches.looked(Some(waiters), look * 100 * MS);
            permits.push(batches.permits(look * 100 * MS));
        }
        *permits.last().unwrap()
    };

    // As many wait as may: one more is tried after five seconds, and found to be one too many.
    assert_eq!(looks(&mut batches, 2, 49), 3);
    assert_eq!(looks(&mut batches, 2, 1), 4);
    batches.started();
    assert_eq!(looks(&mut batches, 3, 1), 3);
    batches.ended();
    assert_eq!(looks(&mut batches, 0, 4), 3);
    assert_eq!(looks(&mut batches, 0, 1), 4);
    assert_eq!(looks(&mut batches, 0, 20), 8);
    assert_eq!(batches.turns(look * 100 * MS), Turns::All);
}

#[test]
fn batches_that_wait_for_each_other_for_longer_than_their_target_become_fewer() {
    let mut batches = in_flight(4);
    let (target, took) = (Duration::from_millis(50), Duration::from_millis(60));
    batches.wrote(took, target);
    batches.looked(Some(2), 100 * MS);
    assert_eq!(batches.permits(100 * MS), 3);

    // With one more they would take 48 ms, and then 60.
    batches.ended();
    for look in 2..=30 {
        batches.wrote(took * 3 / 5, target);
        batches.looked(Some(1), look * 100 * MS);
    }
    assert_eq!(batches.permits(3_000 * MS), 4);
    batches.started();
    batches.wrote(took, target);
    batches.looked(Some(2), 3_100 * MS);
    assert_eq!(batches.permits(3_100 * MS), 3);
    batches.ended();
    for look in 32..=60 {
        batches.wrote(Duration::from_millis(45), target);
        batches.looked(Some(1), look * 100 * MS);
    }
    assert_eq!(batches.permits(6_000 * MS), 3);
}

#[test]
fn nobody_waits_for_a_turn_by_a_look_that_is_too_old_or_has_seen_nothing() {
    let mut batches = in_flight(8);
    batches.looked(None, 0);
    assert_eq!(batches.turns(0), Turns::All);
    batches.looked(Some(1_000), 100 * MS);
    assert_eq!(batches.turns(100 * MS), Turns::One);

    assert_eq!(batches.turns(400 * MS), Turns::One);
    assert_eq!(batches.turns(401 * MS), Turns::All);

    // Nor while one look after the other sees nothing.
    batches.looked(Some(1_000), 500 * MS);
    for look in 6..=9 {
        assert_eq!(batches.turns(look * 100 * MS - 100 * MS), Turns::One);
        batches.looked(None, look * 100 * MS);
    }
    assert_eq!(batches.turns(900 * MS), Turns::All);
}

#[test]
fn the_strictest_of_the_writers_rules_as_long_as_it_is_there() {
    let mut batches = in_flight(3);
    batches.joined(0);
    batches.looked(Some(1), 0);
    assert_eq!(batches.permits(0), 2);

    batches.left(0);
    for look in 1..=5 {
        batches.looked(Some(1), look * 100 * MS);
    }
    assert_eq!(batches.turns(500 * MS), Turns::All);
}

proptest! {
    #[test]
    fn permits_are_one_at_least_and_no_more_than_writers_and_rise_by_one(
        // Often looks that follow each other soon and see nobody wait, or turns would never come back.
        events in prop::collection::vec(
            (
                prop_oneof![2 => Just(5), 1 => 0u8..7],
                prop_oneof![2 => Just(0), 1 => 0u32..20],
                prop_oneof![2 => 50..100u64, 1 => 0..400u64],
            ),
            0..300,
        ),
    ) {
        let mut batches = InFlight::default();
        let (mut writers, mut now) = (Vec::new(), 0);
        for (kind, small, ms) in events {
            now += ms * MS;
            let before = batches.permits(now);
            match kind {
                0 => {
                    batches.joined(small);
                    writers.push(small);
                }
                1 => {
                    if let Some(one) = writers.pop() {
                        batches.left(one);
                    }
                }
                2 => batches.started(),
                3 => batches.ended(),
                4 => batches.wrote(Duration::from_millis(ms / 4), Duration::from_millis(50)),
                5 => batches.looked(Some(small), now),
                // Late, or of another clock.
                _ => batches.looked(Some(small), ms),
            }
            let (permits, all) = (batches.permits(now), writers.len() as u32);
            prop_assert!(permits <= all && permits >= all.min(1), "{permits} of {all}");
            let is_over = writers.iter().min().is_some_and(|most| small > *most);
            if kind == 5 && is_over {
                prop_assert!(permits <= before);
            }
            if kind == 5 && before > 0 && batches.turns(now) == Turns::Some {
                prop_assert!(permits <= before + 1);
            }
        }
    }
}

#[test]
fn turns_of_long_ago_do_not_rule_once_looks_see_again() {
    let mut batches = in_flight(8);
    batches.looked(Some(9), 0);
    assert_eq!(batches.permits(0), 1);

    let later = 3_600_000 * MS;
    batches.looked(Some(0), later);

    assert_eq!(batches.turns(later), Turns::All);
}
