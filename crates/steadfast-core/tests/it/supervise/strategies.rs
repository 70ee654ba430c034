//! Who is restarted, when, and how often.

use std::error::Error;

use super::*;
use steadfast_core::supervise::{AutoShutdown, End, GroupEnd};

use Restart::{Permanent, Temporary, Transient};
use Strategy::{OneForAll, OneForOne, RestForOne};

#[tokio::test(start_paused = true)]
async fn the_strategy_says_who_is_restarted_and_in_which_order() {
    for (strategy, expected) in [
        (OneForOne, "start b2"),
        (OneForAll, "stop c1, stop a1, start a2, start b2, start c2"),
        (RestForOne, "stop c1, start b2, start c2"),
    ] {
        let puppets = Puppets::default();
        let group = puppets.trio(group(strategy, 3), [Permanent; 3]).await;

        puppets.pull("b", Pull::Panic).await;
        seconds(2).await;

        assert_eq!(puppets.log(), expected, "{strategy:?}");
        for name in ["a", "b", "c"] {
            assert_eq!(state(&group, name), ChildState::Running, "{strategy:?}");
        }
        assert_eq!(group.snapshot().restarts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_kind_of_child_and_the_way_it_ended_decide_whether_it_is_restarted() {
    for (kind, pull, restarted) in [
        (Permanent, Pull::Done, true),
        (Permanent, Pull::Fail, true),
        (Permanent, Pull::Panic, true),
        (Transient, Pull::Done, false),
        (Transient, Pull::Fail, true),
        (Transient, Pull::Panic, true),
        (Temporary, Pull::Done, false),
        (Temporary, Pull::Fail, false),
        (Temporary, Pull::Panic, false),
    ] {
        let puppets = Puppets::default();
        let kinds = [Permanent, kind, Permanent];
        let group = puppets.trio(group(OneForOne, 3), kinds).await;

        puppets.pull("b", pull).await;
        seconds(2).await;

        let log = if restarted { "start b2" } else { "" };
        assert_eq!(puppets.log(), log, "{kind:?} {pull:?}");
        let left = group.snapshot().child("b").map(|child| child.state);
        let expected = match (restarted, kind) {
            (true, _) => Some(ChildState::Running),
            (false, Temporary) => None,
            (false, _) => Some(ChildState::AtRest),
        };
        assert_eq!(left, expected, "{kind:?} {pull:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_restart_too_many_stops_all_in_reverse_and_says_why() {
    let puppets = Puppets::default();
    let group = puppets.trio(group(OneForOne, 2), [Permanent; 3]).await;
    for _ in 0..2 {
        puppets.pull("b", Pull::Fail).await;
        seconds(2).await;
    }
    assert_eq!(puppets.log(), "start b2, start b3");

    puppets.pull("b", Pull::Panic).await;
    let end = group.ended().await;

    assert_eq!(puppets.log(), "stop c1, stop a1");
    let error = end.into_result().unwrap_err();
    assert!(error.is_too_many_restarts() && !error.is_start_failed());
    assert_eq!(error.child().unwrap().as_str(), "b");
    let child_end = error.child_end().unwrap();
    assert_eq!((child_end.kind(), child_end.run()), (End::Panicked, 3));
    assert_eq!(child_end.panic().unwrap().message(), "pulled");
    assert_eq!(
        error.to_string(),
        "group `group`: child `b` needs more than 2 restarts within 60s"
    );
    assert!(error.source().unwrap().is::<steadfast_core::Panic>());
}

#[tokio::test(start_paused = true)]
async fn restarts_that_lie_further_apart_than_the_window_go_on_for_ever() {
    let puppets = Puppets::default();
    let group = puppets.trio(group(OneForOne, 1), [Permanent; 3]).await;

    for _ in 0..5 {
        puppets.pull("a", Pull::Fail).await;
        seconds(61).await;
    }

    let a = child(&group, "a");
    assert_eq!((a.state, a.runs, a.restarts), (ChildState::Running, 6, 5));
}

#[tokio::test(start_paused = true)]
async fn waits_grow_with_each_failure_until_the_child_has_worked_for_a_while() {
    let secs = Duration::from_secs;
    let backoff = Backoff::new(secs(1), secs(60))
        .unwrap()
        .with_jitter(Jitter::None);
    let puppets = Puppets::default();
    let builder = Supervisor::builder("group", rules(OneForOne, 9).with_backoff(backoff));
    let group = puppets.trio(builder, [Permanent; 3]).await;

    let mut waits = Vec::new();
    for stretch in [0, 0, 0, 60, 0] {
        seconds(stretch).await;
        puppets.pull("a", Pull::Fail).await;
        let ChildState::Waiting { not_before } = state(&group, "a") else {
            panic!("it waits for its backoff");
        };
        let end = child(&group, "a").last_end.unwrap();
        waits.push((not_before - end.at()).as_secs());
        clock::sleep(not_before - clock::now()).await;
        settle().await;
        assert_eq!(state(&group, "a"), ChildState::Running);
    }

    assert_eq!(waits, [1, 2, 4, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn jitter_spreads_the_restarts_of_children_that_fail_together() {
    let secs = Duration::from_secs;
    let backoff = Backoff::new(secs(100), secs(100)).unwrap();
    let puppets = Puppets::default();
    let builder = Supervisor::builder("group", rules(OneForOne, 9).with_backoff(backoff));
    let group = puppets.trio(builder, [Permanent; 3]).await;

    let mut waits = Vec::new();
    for name in ["a", "b", "c"] {
        puppets.pull(name, Pull::Fail).await;
        let ChildState::Waiting { not_before } = state(&group, name) else {
            panic!("it waits for its backoff");
        };
        waits.push(not_before - child(&group, name).last_end.unwrap().at());
    }

    waits.sort();
    waits.dedup();
    assert_eq!(waits.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_group_stops_itself_when_its_significant_children_are_done() {
    for (rule, pulls) in [
        (AutoShutdown::AnySignificant, vec!["a"]),
        (AutoShutdown::AllSignificant, vec!["a", "b"]),
    ] {
        let puppets = Puppets::default();
        let rules = rules(OneForOne, 1).with_auto_shutdown(rule);
        let group = Supervisor::builder("group", rules)
            .child(puppets.child("a", Transient).significant())
            .child(puppets.child("b", Transient).significant())
            .child(puppets.permanent("c"))
            .start()
            .await
            .unwrap();
        puppets.log();

        for name in &pulls {
            assert!(!group.snapshot().to_string().contains("ended"));
            puppets.pull(name, Pull::Done).await;
        }
        let end = group.ended().await;

        let last = *pulls.last().unwrap();
        assert!(matches!(&end, GroupEnd::Done { child } if child.as_str() == last));
        assert!(end.into_result().is_ok());
        let rest = if pulls.len() == 1 {
            "stop c1, stop b1"
        } else {
            "stop c1"
        };
        assert_eq!(puppets.log(), rest);
    }
}
