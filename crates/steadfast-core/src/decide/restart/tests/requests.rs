//! Children added, stopped, started and removed by hand.

use super::super::*;
use super::shell::*;
use std::time::Duration;

use End::{Failed, Panicked};
use Strategy::{OneForAll, OneForOne, RestForOne};

#[test]
fn an_added_child_starts_last_and_is_removed_if_it_does_not_get_ready() {
    for strategy in [OneForOne, OneForAll, RestForOne] {
        let mut shell = Shell::running(rules(strategy, 0, 60), "PP");
        let added = shell.request(|group, now| group.add(spec('P'), now));
        assert_eq!(added, Ok(Shell::id('c')));

        assert_eq!(shell.ended('c', Failed), Verdict::StartFailed);

        assert_eq!(shell.log(), "start c1, forget c");
        assert_eq!(shell.group.status(), Status::Running);
    }
}

#[test]
fn a_child_added_during_the_start_comes_after_it() {
    for strategy in [OneForOne, OneForAll, RestForOne] {
        let mut shell = Shell::new(rules(strategy, 1, 5), ['P', 'P'].map(spec));
        shell.start();
        shell
            .request(|group, now| group.add(spec('t'), now))
            .unwrap();

        shell.settle();

        assert_eq!(
            shell.log(),
            "start a1, start b1, ready, start c1",
            "{strategy:?}"
        );
    }
}

#[test]
fn a_stopped_child_rests_until_it_is_asked_for() {
    let mut shell = Shell::running(rules(OneForOne, 0, 60), "PPt");
    shell
        .request(|group, now| group.stop_child(Shell::id('b'), now))
        .unwrap();
    assert_eq!(shell.ended('b', Panicked), Verdict::Expected);
    assert_eq!(shell.states(), "a running, b rest, c running");

    shell
        .request(|group, now| group.start_child(Shell::id('b'), now))
        .unwrap();
    assert_eq!(shell.ended('b', Failed), Verdict::StartFailed);
    assert_eq!(shell.states(), "a running, b rest, c running");
    shell
        .request(|group, now| group.start_child(Shell::id('b'), now))
        .unwrap();
    shell.settle();

    assert_eq!(shell.log(), "stop b1, start b2, start b3");
    shell
        .request(|group, now| group.stop_child(Shell::id('c'), now))
        .unwrap();
    shell.settle();
    assert_eq!(
        shell.log(),
        "stop c1, forget c",
        "a temporary child has no second life"
    );
}

#[test]
fn a_child_that_waits_for_its_restart_cannot_be_started_by_hand() {
    let mut shell = Shell::running(rules(OneForOne, 5, 60), "PP");
    shell.ended('a', Failed);

    let answer = shell.request(|group, now| group.start_child(Shell::id('a'), now));

    assert!(answer.unwrap_err().is_live());
    assert_eq!(shell.states(), "a waiting, b running");
}

#[test]
fn stopping_a_child_cancels_the_restart_it_waits_for() {
    let mut shell = Shell::running(rules(OneForOne, 5, 60), "PP");
    shell.ended('a', Failed);

    shell
        .request(|group, now| group.stop_child(Shell::id('a'), now))
        .unwrap();

    assert_eq!(shell.group.wake_at(), None);
    assert_eq!(shell.states(), "a rest, b running");
}

#[test]
fn a_removed_child_is_stopped_first_and_its_id_never_comes_back() {
    let mut shell = Shell::running(rules(OneForAll, 5, 60), "PP");
    shell
        .request(|group, now| group.remove_child(Shell::id('b'), now))
        .unwrap();
    shell.ended('a', Failed);
    shell.settle();

    assert_eq!(shell.log(), "stop b1, forget b, start a2");
    let gone = shell.request(|group, now| group.start_child(Shell::id('b'), now));
    assert!(gone.unwrap_err().is_unknown_child());
    let added = shell.request(|group, now| group.add(spec('P'), now));
    assert_eq!(added, Ok(Shell::id('c')));
}

#[test]
fn a_child_stopped_by_hand_before_it_was_ever_ready_does_not_hold_up_the_start() {
    for strategy in [OneForOne, OneForAll] {
        let mut shell = Shell::new(rules(strategy, 5, 60), ['P', 'P'].map(spec));
        shell.start();
        shell
            .request(|group, now| group.stop_child(Shell::id('a'), now))
            .unwrap();

        shell.settle();

        assert_eq!(shell.log(), "start a1, stop a1, start b1, ready");
        assert_eq!(shell.states(), "a rest, b running");
    }
}

#[test]
fn requests_that_make_no_sense_are_rejected_with_their_reason() {
    let mut group = Supervision::new(rules(OneForOne, 1, 5));
    let check = |answer: Result<(), Rejected>, reason: &str| {
        assert_eq!(answer.unwrap_err().to_string(), reason);
    };

    check(
        group.add(spec('T').significant(), 0).map(drop),
        "significant child needs a group with automatic shutdown",
    );
    check(
        group.add(spec('P').significant(), 0).map(drop),
        "permanent child cannot be significant, it is never given up",
    );
    let child = group.add(spec('P'), 0).unwrap();
    check(group.start_child(child, 0), "group is not started yet");
    group.start(0).unwrap();
    check(group.start(0), "group was started before");
    check(
        group.start_child(child, 0),
        "child 1 lives or is about to be started",
    );
    check(group.stop_child(Shell::id('z'), 0), "group has no child 26");
    for _ in 1..Supervision::MAX_CHILDREN {
        group.add(spec('t'), 0).unwrap();
    }
    check(
        group.add(spec('t'), 0).map(drop),
        "group has 4096 children already, the most it may have",
    );
    group.stop(0);
    check(
        group.add(spec('t'), 0).map(drop),
        "group is ending or has ended",
    );
    check(group.stop_child(child, 0), "group is ending or has ended");
}

#[test]
fn rules_out_of_range_are_refused_with_their_bound() {
    let check = |answer: Result<(), InvalidRules>, part: &str| {
        let message = answer.unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    let zero = Duration::ZERO;
    let rules = rules(OneForOne, 1, 5);

    check(
        Intensity::new(1, zero).map(drop),
        "intensity is out of range",
    );
    check(
        spec('P').with_ready_within(zero).map(drop),
        "time to get ready of 0ns",
    );
    check(
        spec('P').with_ready_within(Duration::MAX).map(drop),
        "and 86400s",
    );
    check(
        spec('P').with_stop_limit(StopLimit::Within(zero)).map(drop),
        "stop limit of 0ns",
    );
    check(rules.with_abort_limit(zero).map(drop), "abort limit of 0ns");
}
