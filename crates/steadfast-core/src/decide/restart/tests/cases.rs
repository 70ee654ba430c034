//! OTP's documented behavior, and ours where OTP has none, case by case.

use super::super::*;
use super::shell::*;
use std::time::Duration;

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

fn spec(kind: char) -> ChildSpec {
    ChildSpec::new(restart_kind(kind))
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
fn a_start_goes_in_order_and_waits_for_each_child_to_be_ready() {
    for strategy in [OneForOne, OneForAll, RestForOne] {
        let mut shell = Shell::new(rules(strategy, 1, 5), ['P', 'T', 't'].map(spec));

        shell.start();
        assert_eq!(shell.log(), "start a1");
        assert_eq!(shell.states(), "a starting, b waiting, c waiting");
        shell.ready('a');
        assert_eq!(shell.log(), "start b1");
        shell.ready('b');
        assert_eq!(shell.log(), "start c1");
        assert_eq!(shell.group.status(), Status::Starting);
        shell.ready('c');

        assert_eq!(shell.log(), "ready");
        assert_eq!(shell.group.status(), Status::Running);
    }
}

#[test]
fn a_start_that_fails_stops_what_was_started_in_reverse() {
    for strategy in [OneForOne, OneForAll, RestForOne] {
        let mut shell = Shell::new(rules(strategy, 9, 60), ['P', 'P', 'T', 'P'].map(spec));
        shell.start();
        shell.ready('a');
        shell.ready('b');

        assert_eq!(shell.ended('c', Failed), Verdict::StartFailed);
        shell.settle();

        assert_eq!(
            shell.log(),
            "start a1, start b1, start c1, stop b1, stop a1, finish start failed c Failed"
        );
    }
}

#[test]
fn a_child_with_nothing_to_do_does_not_hold_up_the_start() {
    let mut shell = Shell::new(rules(OneForAll, 1, 5), ['T', 't', 'P'].map(spec));
    shell.start();

    assert_eq!(shell.ended('a', Normal), Verdict::GivenUp);
    assert_eq!(shell.ended('b', Normal), Verdict::GivenUp);
    shell.ready('c');

    assert_eq!(shell.log(), "start a1, start b1, forget b, start c1, ready");
}

#[test]
fn a_permanent_child_that_is_done_before_it_is_ready_fails_the_start() {
    let mut shell = Shell::new(rules(OneForAll, 1, 5), ['P'].map(spec));
    shell.start();

    assert_eq!(shell.ended('a', Normal), Verdict::StartFailed);

    assert_eq!(shell.log(), "start a1, finish start failed a Normal");
}

#[test]
fn a_group_without_children_is_ready_at_once_and_stays() {
    let mut shell = Shell::new(rules(OneForAll, 1, 5), []);

    shell.start();
    assert_eq!(shell.log(), "ready");
    assert_eq!(shell.group.wake_at(), None);

    shell.stop();
    assert_eq!(shell.log(), "finish stopped");
}

#[test]
fn a_ready_child_that_fails_while_others_start_is_judged_by_its_terms() {
    let mut shell = Shell::new(rules(RestForOne, 1, 5), ['P', 'P', 'P'].map(spec));
    shell.start();
    shell.ready('a');

    assert_eq!(shell.ended('a', Failed), Verdict::Restart { at: SECOND });
    shell.settle();

    assert_eq!(
        shell.log(),
        "start a1, start b1, stop b1, start a2, start b2, start c1, ready"
    );
}

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
fn backoff_grows_with_failures_in_a_row_and_starts_over_after_a_healthy_period() {
    use crate::decide::backoff::{Backoff, Jitter};
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

    shell.tick(6 * SECOND);
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

    shell.tick(6 * SECOND);

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
    shell.tick(6 * SECOND);
    assert_eq!(shell.log(), "stop b1, abort b1, write off b1");
    assert_eq!(shell.group.status(), Status::Running);
    let again = shell.request(|group, now| group.start_child(Shell::id('b'), now));
    assert!(again.unwrap_err().is_live());

    shell.ended('a', Failed);
    shell.settle();

    assert_eq!(shell.log(), "stop c1, finish stuck b");
}

#[test]
fn a_child_that_is_not_ready_in_time_is_aborted_and_fails_the_start() {
    let mut shell = Shell::new(rules(OneForAll, 1, 5), ['P', 'T'].map(spec));
    shell.start();
    shell.ready('a');

    shell.tick(30 * SECOND);
    assert_eq!(shell.log(), "start a1, start b1, abort b1");
    assert!(!shell.ready('b'), "too late");
    assert_eq!(shell.ended('b', Normal), Verdict::StartFailed);
    shell.settle();

    assert_eq!(shell.log(), "stop a1, finish start failed b NotReady");
}

#[test]
fn a_restarted_child_that_is_not_ready_in_time_counts_as_a_failure() {
    let mut shell = Shell::running(rules(OneForOne, 1, 60), "PT");
    shell.ended('b', Failed);
    shell.tick(SECOND);
    shell.tick(31 * SECOND);

    assert_eq!(shell.ended('b', Normal), Verdict::Escalated);
    shell.settle();

    assert_eq!(
        shell.log(),
        "start b2, abort b2, stop a1, finish too many b NotReady"
    );
}

#[test]
fn a_late_child_that_cannot_be_aborted_fails_whoever_wanted_it() {
    let lose = |shell: &mut Shell| {
        shell.tick(shell.now + 30 * SECOND);
        shell.tick(shell.now + SECOND);
        shell.settle();
        shell.log()
    };

    let mut initial = Shell::new(rules(OneForOne, 1, 5), ['P', 'P'].map(spec));
    initial.start();
    initial.ready('a');
    initial.log();
    assert_eq!(
        lose(&mut initial),
        "abort b1, write off b1, stop a1, finish start failed b NotReady"
    );

    let mut restarted = Shell::running(rules(OneForOne, 1, 5), "P");
    restarted.ended('a', Failed);
    restarted.tick(SECOND);
    assert_eq!(
        lose(&mut restarted),
        "start a2, abort a2, write off a2, finish stuck a"
    );

    let mut added = Shell::running(rules(OneForOne, 1, 5), "P");
    added
        .request(|group, now| group.add(spec('P'), now))
        .unwrap();
    assert_eq!(lose(&mut added), "start b1, abort b1, write off b1");
    added.ended('b', Cancelled);
    assert_eq!(added.log(), "forget b");
}

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
