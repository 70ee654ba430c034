//! Handles that are dropped, runtimes that are shut down.

use std::task::Poll;

use super::*;
use steadfast_core::supervise::{ChildContext, GroupEnd, GroupState};
use steadfast_core::{Cancel, Cause, reaper};

use Restart::Permanent;
use Strategy::OneForOne;

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_stops_the_group_in_order_and_the_reaper_waits_for_it() {
    let puppets = Puppets::default();
    let p = puppets.clone();
    let cleans_up = Child::permanent("d", move |context: ChildContext| {
        let p = p.clone();
        async move {
            let late = p.clone();
            context.scope().defer_async("late", async move || {
                seconds(2).await;
                late.write("cleaned up");
            });
            let cause = context.stopping().await;
            p.write(cause.to_string());
        }
    });
    let group = puppets.trio(group(OneForOne, 1), [Permanent; 3]).await;
    group.add_child(cleans_up).await.unwrap();
    let other = group.clone();

    drop(group);
    settle().await;
    assert_eq!(puppets.log(), "", "there is another handle");
    drop(other);
    reaper::drain().await;

    assert_eq!(
        puppets.log(),
        "requested: drop of the last handle, cleaned up, stop c1, stop b1, stop a1"
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_from_outside_stops_the_group_with_its_cause() {
    let shutdown = Cancel::new();
    let puppets = Puppets::default();
    let builder = group(OneForOne, 1).stop_on(&shutdown);
    let group = puppets.trio(builder, [Permanent; 3]).await;

    shutdown.cancel(Cause::Shutdown);
    let end = group.ended().await;

    assert!(matches!(end, GroupEnd::Stopped(Cause::Shutdown)));
    assert_eq!(puppets.log(), "stop c1, stop b1, stop a1");
}

#[test]
fn when_the_runtime_ends_all_are_aborted_cleaned_up_and_whoever_waits_is_told() {
    let puppets = Puppets::default();
    let p = puppets.clone();
    let cleans_up = Child::permanent("d", move |context: ChildContext| {
        let p = p.clone();
        async move {
            context.scope().defer_async("late", async move || {
                tokio::task::yield_now().await;
                p.write("cleaned up");
            });
            context.stopping().await;
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let group = runtime
        .block_on(
            group(OneForOne, 1)
                .child(puppets.permanent("a"))
                .child(cleans_up)
                .start(),
        )
        .unwrap();

    drop(runtime);
    let elsewhere = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let end = elsewhere.block_on(group.ended());

    let error = end.into_result().unwrap_err();
    assert!(error.is_aborted(), "{error}");
    assert!(puppets.log().ends_with("cleaned up"));
    for child in group.snapshot().children {
        assert_eq!(child.state, ChildState::AtRest);
        let end = child.last_end.unwrap();
        assert!(matches!(end.cause(), Some(Cause::Dropped)), "{end}");
    }
    let late = elsewhere.block_on(group.add_child(puppets.permanent("late")));
    assert!(late.unwrap_err().is_ended());
}

#[test]
fn a_handle_that_outlives_its_runtime_may_be_dropped_anywhere() {
    let puppets = Puppets::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let group = runtime
        .block_on(group(OneForOne, 1).child(puppets.permanent("a")).start())
        .unwrap();

    drop(runtime);
    let end = group.snapshot().state;
    drop(group);

    assert!(matches!(end, GroupState::Ended(GroupEnd::Failed(_))));
}

#[test]
fn a_handle_that_is_dropped_with_its_runtime_delays_nothing() {
    let puppets = Puppets::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let group = group(OneForOne, 1)
            .child(puppets.permanent("a"))
            .start()
            .await
            .unwrap();
        steadfast_core::spawn("owner", async move {
            let _group = group;
            std::future::pending::<()>().await;
        });
    });

    let (sender, dropped) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(runtime);
        sender.send(()).unwrap();
    });

    let limit = reaper::EXIT_WAIT / 2;
    assert!(dropped.recv_timeout(limit).is_ok(), "it waits for itself");
}

#[tokio::test(start_paused = true)]
async fn what_factories_hold_is_let_go_when_the_group_has_ended() {
    let held = Arc::new(());
    let kept = held.clone();
    let group = group(OneForOne, 1)
        .child(Child::permanent("a", move |context: ChildContext| {
            let _kept = &kept;
            async move {
                context.stopping().await;
            }
        }))
        .start()
        .await
        .unwrap();
    assert_eq!(Arc::strong_count(&held), 2);

    group.stop().await;

    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(
        group.snapshot().children.len(),
        1,
        "it can still be looked at"
    );
}

#[test]
fn a_start_on_a_runtime_that_has_ended_is_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let ended = runtime.handle().clone();
    drop(runtime);
    let puppets = Puppets::default();
    let mut start = Box::pin(group(OneForOne, 1).child(puppets.permanent("a")).start());

    let _inside = ended.enter();
    let waker = std::task::Waker::noop();
    let polled = start
        .as_mut()
        .poll(&mut std::task::Context::from_waker(waker));

    let Poll::Ready(Err(error)) = polled else {
        panic!("{polled:?}");
    };
    assert!(error.is_aborted(), "{error}");
    assert_eq!(puppets.log(), "");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_cancelled_already_lets_nothing_start() {
    let shutdown = Cancel::new();
    shutdown.cancel(Cause::Shutdown);
    let puppets = Puppets::default();

    let started = group(OneForOne, 1)
        .child(puppets.permanent("a"))
        .stop_on(&shutdown)
        .start()
        .await;

    let error = started.unwrap_err();
    assert!(error.is_stopped(), "{error}");
    assert_eq!(puppets.log(), "");
}
