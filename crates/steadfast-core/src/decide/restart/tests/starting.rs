//! The initial start, and children that do not get ready.

use super::super::*;
use super::shell::*;

use End::{Cancelled, Failed, Normal};
use Strategy::{OneForAll, OneForOne, RestForOne};

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
        shell.tick(shell.now + 6 * SECOND);
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
