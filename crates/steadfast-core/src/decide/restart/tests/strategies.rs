//! Who is restarted with whom, in which order, and who is not.

use super::super::*;
use super::shell::*;

use End::{Cancelled, Failed, Normal, Panicked, Stopped};
use Strategy::{OneForAll, OneForOne, RestForOne};

/// One child of a calm group ends; what a well-behaved shell then does.
fn check_end(strategy: Strategy, kinds: &str, ending: char, end: End, expect: &str) {
    let mut shell = Shell::running(rules(strategy, 5, 60), kinds);

    shell.ended(ending, end);
    shell.settle();

    let case = format!("{strategy:?} {kinds}: {ending} ends {end:?}");
    assert_eq!(shell.log(), expect, "{case}");
}

#[test]
fn a_failure_restarts_whom_the_strategy_names_in_order() {
    check_end(OneForOne, "PPP", 'a', Failed, "start a2");
    check_end(OneForOne, "PPP", 'c', Failed, "start c2");
    check_end(
        OneForAll,
        "PPP",
        'a',
        Failed,
        "stop c1, stop b1, start a2, start b2, start c2",
    );
    check_end(
        OneForAll,
        "PPP",
        'b',
        Failed,
        "stop c1, stop a1, start a2, start b2, start c2",
    );
    check_end(
        OneForAll,
        "PPP",
        'c',
        Failed,
        "stop b1, stop a1, start a2, start b2, start c2",
    );
    check_end(
        RestForOne,
        "PPP",
        'a',
        Failed,
        "stop c1, stop b1, start a2, start b2, start c2",
    );
    check_end(
        RestForOne,
        "PPP",
        'b',
        Failed,
        "stop c1, start b2, start c2",
    );
    check_end(RestForOne, "PPP", 'c', Failed, "start c2");
}

#[test]
fn the_terms_of_a_child_and_the_way_it_ended_say_whether_it_is_restarted() {
    for end in [Normal, Stopped, Failed, Panicked, Cancelled] {
        check_end(OneForOne, "PPP", 'b', end, "start b2");
        check_end(OneForOne, "PtP", 'b', end, "forget b");
    }
    for end in [Failed, Panicked, Cancelled] {
        check_end(OneForOne, "PTP", 'b', end, "start b2");
    }
    for end in [Normal, Stopped] {
        check_end(OneForOne, "PTP", 'b', end, "");
    }
}

#[test]
fn a_child_that_is_given_up_takes_nobody_down() {
    for strategy in [OneForAll, RestForOne] {
        check_end(strategy, "TTT", 'a', Normal, "");
        check_end(strategy, "ttt", 'a', Failed, "forget a");
    }
}

#[test]
fn a_temporary_child_that_a_sibling_takes_down_is_not_started_again() {
    check_end(
        OneForAll,
        "tPt",
        'b',
        Failed,
        "stop c1, forget c, stop a1, forget a, start b2",
    );
    check_end(
        RestForOne,
        "tPt",
        'b',
        Failed,
        "stop c1, forget c, start b2",
    );
}

#[test]
fn a_transient_child_that_was_done_is_started_with_its_group() {
    let mut shell = Shell::running(rules(OneForAll, 5, 60), "PTP");
    shell.ended('b', Normal);

    shell.ended('a', Failed);
    shell.settle();

    assert_eq!(shell.log(), "stop c1, start a2, start b2, start c2");
}

#[test]
fn a_child_stopped_by_hand_is_started_with_its_group() {
    let mut shell = Shell::running(rules(OneForAll, 5, 60), "PPP");
    shell
        .request(|group, now| group.stop_child(Shell::id('b'), now))
        .unwrap();
    shell.settle();
    assert_eq!(shell.states(), "a running, b rest, c running");

    shell.ended('a', Failed);
    shell.settle();

    assert_eq!(
        shell.log(),
        "stop b1, stop c1, start a2, start b2, start c2"
    );
}

#[test]
fn a_sibling_that_fails_in_a_group_restart_begins_it_anew() {
    let mut shell = Shell::running(rules(OneForAll, 2, 60), "PPP");
    shell.ended('c', Failed);
    shell.ended('b', Stopped);
    shell.ended('a', Stopped);
    shell.tick(SECOND);
    shell.ready('a');
    assert_eq!(shell.log(), "stop b1, stop a1, start a2, start b2");

    assert_eq!(
        shell.ended('a', Failed),
        Verdict::Restart { at: 2 * SECOND }
    );
    shell.settle();

    assert_eq!(shell.log(), "stop b2, start a3, start b3, start c2");
}

#[test]
fn an_end_during_the_stopping_of_a_restart_is_expected_whatever_it_is() {
    let mut shell = Shell::running(rules(OneForAll, 1, 60), "PPP");
    shell.ended('c', Failed);

    assert_eq!(
        shell.ended('a', Panicked),
        Verdict::Expected,
        "its turn has not come"
    );
    assert_eq!(
        shell.ended('b', Failed),
        Verdict::Expected,
        "it was asked to stop"
    );
    shell.settle();

    assert_eq!(shell.log(), "stop b1, start a2, start b2, start c2");
}

#[test]
fn one_for_one_restarts_do_not_wait_for_each_other() {
    let mut shell = Shell::running(rules(OneForOne, 5, 60), "PPP");
    shell.ended('a', Failed);
    shell.tick(SECOND);
    assert_eq!(shell.states(), "a starting, b running, c running");

    shell.ended('c', Failed);
    shell.tick(2 * SECOND);

    assert_eq!(shell.log(), "start a2, start c2");
}

#[test]
fn significant_children_stop_the_group_when_they_are_done() {
    let significant = |kind| spec(kind).significant();
    let check = |auto, ends: &[(char, End)], expect: &str| {
        let rules = rules(OneForOne, 1, 60).with_auto_shutdown(auto);
        let specs = [spec('T'), significant('T'), significant('t')];
        let mut shell = Shell::new(rules, specs);
        shell.start();
        shell.settle();
        shell.log();
        for &(child, end) in ends {
            shell.ended(child, end);
        }
        shell.settle();
        assert_eq!(shell.log(), expect, "{auto:?} {ends:?}");
    };

    use AutoShutdown::{AllSignificant, AnySignificant};
    check(AnySignificant, &[('a', Normal)], "");
    check(
        AnySignificant,
        &[('b', Normal)],
        "stop c1, stop a1, finish significant b",
    );
    check(AnySignificant, &[('b', Failed)], "start b2");
    check(
        AnySignificant,
        &[('c', Failed)],
        "forget c, stop b1, stop a1, finish significant c",
    );
    check(AllSignificant, &[('b', Normal)], "");
    check(
        AllSignificant,
        &[('b', Failed), ('c', Normal)],
        "forget c, start b2",
    );
    check(
        AllSignificant,
        &[('c', Normal), ('b', Normal)],
        "forget c, stop a1, finish significant b",
    );
}

#[test]
fn reports_about_a_life_that_is_over_change_nothing() {
    let mut shell = Shell::running(rules(OneForOne, 5, 60), "P");
    let first = shell.instance('a');
    shell.ended('a', Failed);
    shell.settle();
    shell.log();

    assert_eq!(shell.group.ended(first, Failed, 0, 0), Verdict::Unknown);
    assert!(!shell.group.ready(first, 0));

    assert_eq!(shell.states(), "a running");
    assert_eq!(shell.group.next_command(), None);
}
