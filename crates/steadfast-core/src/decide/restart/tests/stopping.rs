//! Stopping, its limits, and children that do not stop.

use super::super::*;
use super::shell::*;
use std::time::Duration;

use End::{Cancelled, Failed, Normal, Panicked, Stopped};
use Strategy::{OneForAll, OneForOne, RestForOne};

#[test]
fn a_stop_goes_in_reverse_one_by_one_and_starts_nothing() {
    for strategy in [OneForOne, OneForAll, RestForOne] {
        let mut shell = Shell::running(rules(strategy, 5, 60), "PPP");
        shell.stop();
        assert_eq!(shell.log(), "stop c1");

        assert_eq!(shell.ended('c', Failed), Verdict::Expected);
        assert_eq!(shell.log(), "stop b1");
        assert_eq!(shell.ended('a', Panicked), Verdict::Expected);
        assert_eq!(shell.log(), "");
        assert_eq!(shell.ended('b', Normal), Verdict::Expected);

        assert_eq!(shell.log(), "finish stopped");
        assert_eq!(shell.group.wake_at(), None);
    }
}

#[test]
fn a_stop_cancels_a_restart_that_waits() {
    let mut shell = Shell::running(rules(OneForAll, 5, 60), "PPP");
    shell.ended('b', Failed);
    shell.stop();

    shell.settle();

    assert_eq!(shell.log(), "stop c1, stop a1, finish stopped");
}

#[test]
fn the_first_reason_to_end_stands() {
    let mut shell = Shell::running(rules(OneForOne, 0, 60), "PP");
    shell.ended('b', Failed);

    shell.stop();
    shell.settle();

    assert_eq!(shell.log(), "stop a1, finish too many b Failed");
}

#[test]
fn a_group_that_never_started_ends_at_once() {
    let mut shell = Shell::new(rules(OneForOne, 1, 5), ['P'].map(spec));

    shell.stop();

    assert_eq!(shell.log(), "finish stopped");
    assert!(shell.group.start(0).unwrap_err().is_ended());
}

#[test]
fn a_child_that_does_not_stop_in_time_is_aborted() {
    let patient = spec('P')
        .with_stop_limit(StopLimit::Within(Duration::from_secs(20)))
        .unwrap();
    let hard = spec('P').with_stop_limit(StopLimit::Immediate).unwrap();
    let mut shell = Shell::new(rules(OneForOne, 1, 5), [hard, patient, spec('P')]);
    shell.start();
    shell.settle();
    shell.log();

    shell.stop();
    shell.tick(5 * SECOND - 1);
    assert_eq!(shell.log(), "stop c1");
    shell.tick(5 * SECOND);
    assert_eq!(shell.log(), "abort c1");
    shell.ended('c', Cancelled);
    assert_eq!(shell.group.wake_at(), Some(25 * SECOND));
    shell.tick(25 * SECOND);
    shell.ended('b', Cancelled);
    shell.ended('a', Cancelled);

    assert_eq!(shell.log(), "stop b1, abort b1, abort a1, finish stopped");
}

#[test]
fn a_child_without_a_limit_is_waited_for() {
    let group = spec('P').with_stop_limit(StopLimit::Unbounded).unwrap();
    let mut shell = Shell::new(rules(OneForOne, 1, 5), [group]);
    shell.start();
    shell.settle();

    shell.stop();

    assert_eq!(shell.group.wake_at(), None);
    shell.tick(1_000_000 * SECOND);
    assert_eq!(shell.log(), "start a1, ready, stop a1");
}

#[test]
fn a_child_that_cannot_be_aborted_is_written_off_and_the_stop_goes_on() {
    let mut shell = Shell::running(rules(OneForOne, 1, 5), "PP");
    shell.stop();
    shell.tick(5 * SECOND);

    shell.tick(11 * SECOND);
    assert_eq!(shell.log(), "stop b1, abort b1, write off b1, stop a1");
    shell.ended('a', Stopped);

    assert_eq!(shell.log(), "finish stopped");
    assert_eq!(shell.states(), "a rest, b lost");
    assert_eq!(shell.ended('b', Cancelled), Verdict::Expected);
    assert_eq!(shell.states(), "a rest, b rest");
}

#[test]
fn a_child_that_cannot_be_aborted_is_never_started_again_and_fails_the_group() {
    let mut shell = Shell::running(rules(OneForAll, 1, 5), "PP");
    shell.ended('a', Failed);
    shell.tick(5 * SECOND);

    shell.tick(11 * SECOND);

    assert_eq!(
        shell.log(),
        "stop b1, abort b1, write off b1, finish stuck b"
    );
}

#[test]
fn a_child_written_off_after_a_stop_by_hand_harms_nobody_until_it_is_needed() {
    let mut shell = Shell::running(rules(RestForOne, 1, 60), "PPP");
    shell
        .request(|group, now| group.stop_child(Shell::id('b'), now))
        .unwrap();
    shell.tick(5 * SECOND);
    shell.tick(11 * SECOND);
    assert_eq!(shell.log(), "stop b1, abort b1, write off b1");
    assert_eq!(shell.group.status(), Status::Running);
    let again = shell.request(|group, now| group.start_child(Shell::id('b'), now));
    assert!(again.unwrap_err().is_live());

    shell.ended('a', Failed);
    shell.settle();

    assert_eq!(shell.log(), "stop c1, finish stuck b");
}

#[test]
fn a_child_that_is_over_but_for_something_inside_is_written_off_and_judged_by_its_end() {
    let check = |kind, end, log: &str, states: &str| {
        let mut shell = Shell::running(rules(OneForOne, 5, 60), &format!("{kind}P"));
        let instance = shell.instance('a');

        shell.request(|group, now| group.stuck(instance, end, now));
        shell.settle();

        assert_eq!(shell.log(), log, "{kind} {end:?}");
        assert_eq!(shell.states(), states);
        shell.request(|group, now| group.stuck(instance, end, now));
        assert_eq!(shell.log(), "", "said once");
        assert_eq!(shell.ended('a', end), Verdict::Expected);
    };

    check(
        'P',
        Normal,
        "write off a1, stop b1, finish stuck a",
        "a lost, b rest",
    );
    check(
        'T',
        Failed,
        "write off a1, stop b1, finish stuck a",
        "a lost, b rest",
    );
    check('T', Normal, "write off a1", "a lost, b running");
    check('t', Failed, "write off a1", "a lost, b running");
}

#[test]
fn a_child_that_is_stuck_before_it_is_ready_fails_its_start() {
    let mut shell = Shell::new(rules(OneForOne, 5, 60), [spec('P'), spec('P')]);
    shell.start();
    let instance = shell.instance('a');

    shell.request(|group, now| group.stuck(instance, Failed, now));

    assert_eq!(
        shell.log(),
        "start a1, write off a1, finish start failed a Failed"
    );
}
