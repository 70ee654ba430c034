//! The start of a group: order, readiness, failures.

use std::error::Error;

use super::*;
use steadfast_core::supervise::{ChildContext, End, GroupState};
use steadfast_core::{Cancel, Cause};

use Strategy::{OneForAll, OneForOne, RestForOne};

/// A child that is ready after so many seconds.
fn slow(puppets: &Puppets, name: &'static str, ready_after: u64, limit: u64) -> Child {
    let puppets = puppets.clone();
    Child::permanent(name, move |context: ChildContext| {
        let puppets = puppets.clone();
        async move {
            puppets.write(format!("start {name}"));
            seconds(ready_after).await;
            puppets.write(format!("ready {name}"));
            context.ready();
            context.stopping().await;
            puppets.write(format!("stop {name}"));
        }
    })
    .ready_within(Duration::from_secs(limit))
}

#[tokio::test(start_paused = true)]
async fn each_child_starts_after_the_one_before_is_ready_and_start_returns_after_the_last() {
    for strategy in [OneForOne, OneForAll, RestForOne] {
        let puppets = Puppets::default();
        let begun = clock::now();

        let group = group(strategy, 1)
            .child(slow(&puppets, "a", 3, 10))
            .child(slow(&puppets, "b", 4, 10))
            .start()
            .await
            .unwrap();

        assert_eq!((clock::now() - begun).as_secs(), 7);
        assert_eq!(puppets.log(), "start a, ready a, start b, ready b");
        assert!(matches!(group.snapshot().state, GroupState::Running));
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_is_undone_in_reverse_before_the_error_is_told() {
    let puppets = Puppets::default();

    let error = group(OneForOne, 9)
        .child(puppets.permanent("a"))
        .child(puppets.permanent("b"))
        .child(
            Child::permanent("broken", async |_| Err::<(), _>("port is taken"))
                .ready_within(Duration::from_secs(5)),
        )
        .child(puppets.permanent("never"))
        .start()
        .await
        .unwrap_err();

    assert_eq!(puppets.log(), "start a1, start b1, stop b1, stop a1");
    assert!(error.is_start_failed());
    assert_eq!(error.child().unwrap().as_str(), "broken");
    assert_eq!(error.child_end().unwrap().kind(), End::Failed);
    assert_eq!(error.source().unwrap().to_string(), "port is taken");
}

#[tokio::test(start_paused = true)]
async fn a_factory_that_panics_fails_the_start() {
    let error = group(OneForOne, 9)
        .child(Child::permanent("broken", |_| -> std::future::Ready<()> {
            panic!("no such file")
        }))
        .start()
        .await
        .unwrap_err();

    let end = error.child_end().unwrap();
    assert_eq!(end.panic().unwrap().message(), "no such file");
    assert_eq!(
        end.panic().unwrap().scope_path().to_string(),
        "group > broken"
    );
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_not_ready_in_time_is_aborted_and_fails_the_start() {
    let puppets = Puppets::default();
    let begun = clock::now();

    let error = group(OneForOne, 9)
        .child(slow(&puppets, "a", 9, 5))
        .start()
        .await
        .unwrap_err();

    assert_eq!((clock::now() - begun).as_secs(), 5);
    let end = error.child_end().unwrap();
    assert_eq!(end.kind(), End::NotReady);
    assert_eq!(end.to_string(), "not_ready: timed out after 5s");
    assert!(
        error.to_string().contains("was not ready within 5s"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_restarted_child_that_is_not_ready_in_time_counts_as_one_more_failure() {
    let puppets = Puppets::default();
    let group = group(OneForOne, 3)
        .child(
            Child::permanent("a", |context: ChildContext| async move {
                if context.run() == 2 {
                    seconds(9).await;
                }
                context.ready();
                if context.run() == 1 {
                    seconds(1).await;
                    panic!("first life");
                }
                context.stopping().await;
            })
            .ready_within(Duration::from_secs(5)),
        )
        .child(puppets.permanent("b"))
        .start()
        .await
        .unwrap();

    // It fails after a second, waits for one, has five to get ready, and waits for one more.
    seconds(9).await;

    let a = child(&group, "a");
    assert_eq!((a.state, a.runs, a.restarts), (ChildState::Running, 3, 2));
    assert_eq!(a.last_end.unwrap().kind(), End::NotReady);
    assert_eq!(child(&group, "b").runs, 1);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_dropped_stops_what_it_has_started() {
    let puppets = Puppets::default();
    let starting = group(OneForOne, 1)
        .child(puppets.permanent("a"))
        .child(slow(&puppets, "b", 9, 20))
        .start();

    let dropped = clock::timeout(Duration::from_secs(1), starting).await;
    steadfast_core::reaper::drain().await;

    assert!(dropped.is_err());
    // `b` was asked to stop before it was ready, and looks at that only afterwards.
    assert_eq!(puppets.log(), "start a1, start b, stop a1");
}

#[tokio::test(start_paused = true)]
async fn limits_out_of_range_are_refused_by_name_before_anything_starts() {
    let puppets = Puppets::default();
    let child = |name| puppets.permanent(name);
    for (child, name, reason) in [
        (
            child("a").stop_within(Duration::ZERO),
            "a",
            "stop limit of 0ns",
        ),
        (
            child("b").ready_within(Duration::from_secs(86_401)),
            "b",
            "time to get ready of 86401s",
        ),
        (
            child("c").significant(),
            "c",
            "permanent child cannot be significant",
        ),
    ] {
        let error = group(OneForOne, 1).child(child).start().await.unwrap_err();

        assert!(error.is_invalid());
        assert_eq!(
            error.to_string(),
            format!("group `group`: child `{name}` was refused")
        );
        let source = error.source().unwrap().to_string();
        assert!(source.contains(reason), "{source}");
    }
    assert_eq!(puppets.log(), "");
}

#[tokio::test(start_paused = true)]
async fn a_group_without_children_is_ready_at_once_and_waits() {
    let group = group(OneForAll, 1).start().await.unwrap();
    seconds(3_600).await;

    assert!(matches!(group.snapshot().state, GroupState::Running));
    assert!(!group.stop().await.is_failure());
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_stopped_while_it_starts_does_not_claim_to_be_ready() {
    let puppets = Puppets::default();
    let stop = Cancel::new();
    let starting = group(OneForOne, 9)
        .child(slow(&puppets, "slow", 60, 120))
        .stop_on(&stop)
        .start();
    let (started, ()) = tokio::join!(starting, async {
        clock::sleep(Duration::from_secs(1)).await;
        stop.cancel(Cause::Shutdown);
    });

    let error = started.unwrap_err();

    assert!(error.is_stopped(), "{error}");
    assert!(
        error
            .to_string()
            .contains("before all its children were ready")
    );
}
