//! Stopping children: asked first, aborted then, written off in the end.

use super::*;
use steadfast_core::supervise::{ChildContext, End, GroupEnd, GroupState};
use steadfast_core::{Cause, context, scope};

use Strategy::{OneForAll, OneForOne};

#[tokio::test(start_paused = true)]
async fn children_are_stopped_one_by_one_last_one_first_with_the_cause() {
    let puppets = Puppets::default();
    let causes = Arc::new(Mutex::new(Vec::new()));
    let lingering = |name| {
        let (causes, puppets) = (causes.clone(), puppets.clone());
        Child::permanent(name, move |context: ChildContext| {
            let (causes, puppets) = (causes.clone(), puppets.clone());
            async move {
                let cause = context.stopping().await;
                causes.lock().unwrap().push(cause.as_str());
                puppets.write(format!("asked {name}"));
                seconds(2).await;
                puppets.write(format!("over {name}"));
            }
        })
    };
    let group = ["a", "b", "c"]
        .into_iter()
        .fold(group(OneForOne, 1), |group, name| {
            group.child(lingering(name))
        })
        .start()
        .await
        .unwrap();
    let begun = clock::now();

    let end = group.stop_with(Cause::Shutdown).await;

    assert!(matches!(end, GroupEnd::Stopped(Cause::Shutdown)));
    assert_eq!((clock::now() - begun).as_secs(), 6);
    assert_eq!(
        puppets.log(),
        "asked c, over c, asked b, over b, asked a, over a"
    );
    assert_eq!(*causes.lock().unwrap(), ["shutdown"; 3]);
    assert!(matches!(group.snapshot().state, GroupState::Ended(_)));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_stop_is_aborted_and_cleaned_up_before_the_next_is_asked() {
    let puppets = Puppets::default();
    let p = puppets.clone();
    let deaf = Child::permanent("deaf", move |context: ChildContext| {
        let p = p.clone();
        async move {
            let inside = p.clone();
            context.scope().defer_async("release", async move || {
                seconds(2).await;
                p.write("released");
            });
            scope("inside")
                .run(async |s| {
                    s.defer_outcome_async("look", async move |outcome| {
                        outcome.change(|outcome| inside.write(format!("{outcome:?}")));
                    });
                    std::future::pending::<Result<(), BoxError>>().await
                })
                .await
        }
    });
    let group = group(OneForOne, 1)
        .child(puppets.permanent("a"))
        .child(deaf.stop_within(Duration::from_secs(3)))
        .start()
        .await
        .unwrap();
    settle().await;
    let begun = clock::now();

    group.stop().await;

    assert_eq!((clock::now() - begun).as_secs(), 5);
    assert_eq!(
        puppets.log(),
        "start a1, Cancelled(Timeout(3s)), released, stop a1"
    );
    assert_eq!(
        child(&group, "deaf").last_end.unwrap().kind(),
        End::Cancelled
    );
}

#[tokio::test(start_paused = true)]
async fn a_child_that_gets_no_time_is_aborted_without_being_asked() {
    let puppets = Puppets::default();
    let group = group(OneForOne, 1)
        .child(puppets.permanent("a").stop_at_once())
        .start()
        .await
        .unwrap();
    settle().await;

    group.stop_with(Cause::LeaseLost).await;

    assert_eq!(puppets.log(), "start a1");
    let end = child(&group, "a").last_end.unwrap();
    assert!(matches!(end.cause(), Some(Cause::LeaseLost)), "{end}");
}

#[tokio::test(start_paused = true)]
async fn a_request_to_stop_leaves_work_in_flight_alone_and_an_abort_does_not() {
    let work = |limit| {
        Child::permanent("worker", async |context: ChildContext| {
            let inner = scope("work")
                .run(async |_| {
                    seconds(2).await;
                    Ok(context::cancel().is_cancelled())
                })
                .await;
            assert!(context.is_stopping());
            assert!(!inner?);
            Ok::<(), BoxError>(())
        })
        .stop_within(Duration::from_secs(limit))
    };
    for (limit, kind) in [(3, End::Stopped), (1, End::Cancelled)] {
        let group = group(OneForOne, 1)
            .child(work(limit))
            .start()
            .await
            .unwrap();
        settle().await;

        group.stop().await;

        assert_eq!(child(&group, "worker").last_end.unwrap().kind(), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_waits_for_the_cleanups_of_the_life_before() {
    let puppets = Puppets::default();
    let p = puppets.clone();
    let group = group(OneForOne, 3)
        .child(Child::permanent("a", move |context: ChildContext| {
            p.write(format!("bind {}", context.run()));
            let p = p.clone();
            async move {
                let run = context.run();
                context.scope().defer_async("unbind", async move || {
                    seconds(4).await;
                    p.write(format!("unbind {run}"));
                });
                if run == 1 {
                    seconds(1).await;
                    panic!("first life");
                }
                context.stopping().await;
            }
        }))
        .start()
        .await
        .unwrap();

    seconds(2).await;
    assert_eq!(state(&group, "a"), ChildState::Ending);
    seconds(9).await;

    assert_eq!(puppets.log(), "bind 1, unbind 1, bind 2");
    group.stop().await;
    assert_eq!(puppets.log(), "unbind 2");
}

#[tokio::test(start_paused = true)]
async fn a_child_stopped_for_a_siblings_sake_is_told_so() {
    let causes = Arc::new(Mutex::new(Vec::new()));
    let puppets = Puppets::default();
    let heard = causes.clone();
    let _group = group(OneForAll, 3)
        .child(puppets.permanent("a"))
        .child(Child::permanent("b", move |context: ChildContext| {
            let heard = heard.clone();
            async move {
                let cause = context.stopping().await;
                heard.lock().unwrap().push(cause.to_string());
            }
        }))
        .start()
        .await
        .unwrap();

    puppets.pull("a", Pull::Fail).await;

    assert_eq!(
        *causes.lock().unwrap(),
        ["requested: restart with a sibling"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_child_that_blocks_its_thread_is_written_off_and_the_stop_goes_on() {
    let millis = Duration::from_millis;
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let mut blocked = Some(blocked);
    let puppets = Puppets::default();
    let rules = rules(OneForOne, 1).with_abort_limit(millis(20)).unwrap();
    let group = Supervisor::builder("group", rules)
        .child(puppets.permanent("a"))
        .child(
            Child::permanent("stuck", move |_| {
                let blocked = blocked.take();
                // Held by the thread, not by an await: nobody can take it away.
                async move { blocked.unwrap().recv().unwrap_or(()) }
            })
            .stop_within(millis(20)),
        )
        .start()
        .await
        .unwrap();

    let end = group.stop().await;

    assert!(!end.is_failure());
    assert_eq!(state(&group, "stuck"), ChildState::WrittenOff);
    assert_eq!(state(&group, "a"), ChildState::AtRest);
    drop(release);
    while state(&group, "stuck") == ChildState::WrittenOff {
        tokio::task::yield_now().await;
    }
    let late = child(&group, "stuck").last_end.unwrap();
    assert_eq!(late.kind(), End::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_group_that_needs_a_child_that_cannot_be_ended_fails() {
    let millis = Duration::from_millis;
    let (_release, blocked) = std::sync::mpsc::channel::<()>();
    let mut blocked = Some(blocked);
    let rules = rules(OneForAll, 1).with_abort_limit(millis(20)).unwrap();
    let group = Supervisor::builder("group", rules)
        .child(Child::permanent("fails", async |_| {
            clock::sleep(Duration::from_millis(20)).await;
            panic!("takes its sibling down");
        }))
        .child(
            Child::permanent("stuck", move |_| {
                let blocked = blocked.take();
                async move { blocked.unwrap().recv().unwrap_or(()) }
            })
            .stop_within(millis(20)),
        )
        .start()
        .await
        .unwrap();

    let error = group.ended().await.into_result().unwrap_err();

    assert!(error.is_stuck());
    assert_eq!(error.child().unwrap().as_str(), "stuck");
}
