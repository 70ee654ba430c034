//! How often and how soon: intensity and backoff.

use super::super::*;
use super::shell::*;
use crate::decide::backoff::{Backoff, Jitter};
use std::time::Duration;

use End::{Failed, Normal, Panicked};
use Strategy::{OneForAll, OneForOne, RestForOne};

#[test]
fn exactly_the_allowed_restarts_happen_and_the_next_ends_the_group() {
    for strategy in [OneForOne, OneForAll, RestForOne] {
        let mut shell = Shell::running(rules(strategy, 3, 60), "PTP");
        for _ in 0..3 {
            assert!(matches!(shell.ended('b', Failed), Verdict::Restart { .. }));
            shell.settle();
        }
        shell.log();

        assert_eq!(shell.ended('b', Panicked), Verdict::Escalated);
        shell.settle();

        let log = shell.log();
        let run = if strategy == OneForOne { 1 } else { 4 };
        let first = if strategy == OneForAll { 4 } else { 1 };
        assert_eq!(
            log,
            format!("stop c{run}, stop a{first}, finish too many b Panicked")
        );
    }
}

#[test]
fn restarts_of_all_children_count_together_and_are_forgotten_after_the_window() {
    let mut shell = Shell::running(rules(OneForOne, 2, 10), "PPP");
    let mut fail_at = |now, child| {
        shell.tick(now * SECOND);
        let verdict = shell.ended(child, Failed);
        shell.settle();
        matches!(verdict, Verdict::Restart { .. })
    };

    assert!(fail_at(0, 'a'));
    assert!(fail_at(5, 'b'));
    assert!(fail_at(11, 'c'), "the first is more than ten seconds ago");
    assert!(!fail_at(15, 'a'), "the second is exactly ten seconds ago");
}

#[test]
fn the_restarts_within_the_window_can_be_read_at_any_moment() {
    let mut shell = Shell::running(rules(OneForOne, 2, 10), "PP");
    let mut within = |now| shell.group.restarts_within(now * SECOND);
    assert_eq!(within(0), 0);

    shell.ended('a', Failed);
    shell.settle();

    let mut within = |now| shell.group.restarts_within(now * SECOND);
    assert_eq!((within(9), within(10), within(11)), (1, 1, 0));
}

#[test]
fn a_group_restart_counts_once_however_many_children_it_restarts() {
    let mut shell = Shell::running(rules(OneForAll, 1, 60), "PPP");

    assert!(matches!(shell.ended('a', Failed), Verdict::Restart { .. }));
    shell.settle();

    assert_eq!(shell.group.status(), Status::Running);
}

#[test]
fn a_group_that_allows_no_restart_ends_at_the_first() {
    let mut shell = Shell::running(rules(OneForOne, 0, 1), "PTt");

    assert_eq!(shell.ended('c', Failed), Verdict::GivenUp);
    assert_eq!(shell.ended('b', Normal), Verdict::GivenUp);
    assert_eq!(shell.ended('a', Normal), Verdict::Escalated);

    assert_eq!(shell.log(), "forget c, finish too many a Normal");
}

#[test]
fn a_restart_that_fails_counts_again_and_is_tried_again() {
    for kind in ['P', 'T'] {
        let mut shell = Shell::new(rules(OneForOne, 2, 60), [spec(kind)]);
        shell.start();
        shell.settle();
        shell.ended('a', Failed);
        shell.tick(SECOND);

        assert_eq!(
            shell.ended('a', Failed),
            Verdict::Restart { at: 2 * SECOND }
        );
        shell.tick(2 * SECOND);
        assert_eq!(shell.ended('a', Failed), Verdict::Escalated);

        assert_eq!(
            shell.log(),
            "start a1, ready, start a2, start a3, finish too many a Failed"
        );
    }
}

#[test]
fn an_earlier_child_is_not_held_up_by_the_backoff_of_a_later_one() {
    let mut shell = Shell::running(rules(RestForOne, 5, 60), "PPP");
    shell.ended('c', Failed);
    shell.tick(SECOND / 2);

    shell.ended('b', Failed);
    assert_eq!(shell.group.wake_at(), Some(SECOND * 3 / 2));
    shell.settle();

    assert_eq!(shell.log(), "start b2, start c2");
}

#[test]
fn backoff_grows_with_failures_in_a_row_and_starts_over_after_a_healthy_period() {
    let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60))
        .and_then(|backoff| backoff.with_healthy_for(Duration::from_secs(10)))
        .unwrap()
        .with_jitter(Jitter::None);
    let mut shell = Shell::running(rules(OneForOne, 9, 600).with_backoff(backoff), "PP");
    let mut wait_after = |worked: u64, child| {
        shell.tick(shell.now + worked * SECOND);
        let failed_at = shell.now;
        let Verdict::Restart { at } = shell.ended(child, Failed) else {
            panic!("not restarted");
        };
        shell.settle();
        (at - failed_at) / SECOND
    };

    assert_eq!(wait_after(0, 'a'), 1);
    assert_eq!(wait_after(1, 'a'), 2);
    assert_eq!(wait_after(0, 'b'), 1, "each child has its own");
    assert_eq!(
        wait_after(9, 'a'),
        1,
        "it worked for 10 s, one of them beside b's restart"
    );
}

#[test]
fn a_child_keeps_its_own_longer_wait_when_an_earlier_one_fails() {
    let second = Duration::from_secs(1);
    let backoff = Backoff::new(second, second * 60)
        .unwrap()
        .with_jitter(Jitter::None);
    let mut shell = Shell::running(rules(RestForOne, 9, 600).with_backoff(backoff), "PPP");
    for _ in 0..3 {
        shell.ended('c', Failed);
        shell.settle();
    }
    shell.log();
    let now = shell.now;
    assert_eq!(
        shell.ended('c', Failed),
        Verdict::Restart {
            at: now + 8 * SECOND
        }
    );

    assert_eq!(
        shell.ended('b', Failed),
        Verdict::Restart { at: now + SECOND }
    );
    shell.tick(now + SECOND);
    shell.ready('b');

    assert_eq!(shell.log(), "start b2");
    assert_eq!(shell.group.wake_at(), Some(now + 8 * SECOND));
}

#[test]
fn the_random_bits_draw_the_wait() {
    let rules = Rules::new(
        OneForOne,
        Intensity::new(9, Duration::from_secs(60)).unwrap(),
    );
    let mut shell = Shell::running(rules, "P");
    let instance = shell.instance('a');

    let verdict = shell.group.ended(instance, Failed, 0, u64::MAX / 2);

    assert_eq!(verdict, Verdict::Restart { at: 50_000_000 });
}

#[test]
fn time_that_goes_backwards_ends_no_wait_early() {
    let mut shell = Shell::running(rules(OneForOne, 5, 60), "P");
    shell.tick(10 * SECOND);
    shell.now = 0;

    assert_eq!(
        shell.ended('a', Failed),
        Verdict::Restart { at: 11 * SECOND }
    );
    shell.tick(SECOND);
    assert_eq!(shell.log(), "");
    shell.tick(11 * SECOND);

    assert_eq!(shell.log(), "start a2");
}
