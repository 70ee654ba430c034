//! Groups inside of groups.

use std::error::Error;

use super::*;
use steadfast_core::supervise::{ChildContext, End, GroupError, GroupState};
use steadfast_core::{Cause, context};

use Restart::{Permanent, Transient};
use Strategy::{OneForAll, OneForOne};

/// A group `inner` of the children `x` and `y` that survives so many restarts.
fn inner(puppets: &Puppets, restarts: u32) -> Child {
    let puppets = puppets.clone();
    Child::group("inner", Permanent, move || {
        Supervisor::builder("inner", rules(OneForOne, restarts))
            .child(puppets.permanent("x"))
            .child(puppets.permanent("y"))
    })
}

async fn outer(puppets: &Puppets, outer_restarts: u32, inner_restarts: u32) -> Supervisor {
    let group = group(OneForAll, outer_restarts)
        .child(puppets.permanent("a"))
        .child(inner(puppets, inner_restarts))
        .child(puppets.permanent("b"))
        .start()
        .await
        .unwrap();
    settle().await;
    assert_eq!(puppets.log(), "start a1, start x1, start y1, start b1");
    group
}

#[tokio::test(start_paused = true)]
async fn what_an_inner_group_survives_is_its_own_affair() {
    let puppets = Puppets::default();
    let group = outer(&puppets, 0, 1).await;

    puppets.pull("x", Pull::Panic).await;
    seconds(2).await;

    assert_eq!(puppets.log(), "start x2");
    assert_eq!(group.snapshot().restarts, 0);
    let inner = child(&group, "inner").group.unwrap();
    assert_eq!((inner.restarts, inner.children.len()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn what_it_does_not_survive_is_a_failure_of_that_child() {
    let puppets = Puppets::default();
    let group = outer(&puppets, 1, 0).await;

    puppets.pull("y", Pull::Fail).await;
    seconds(2).await;

    // First the inner group stops its rest; then the outer one restarts all.
    assert_eq!(
        puppets.log(),
        "stop x1, stop b1, stop a1, start a2, start x1, start y1, start b2"
    );
    let end = child(&group, "inner").last_end.unwrap();
    assert_eq!(end.kind(), End::Failed);
    let error = end.error().unwrap().downcast_ref::<GroupError>().unwrap();
    assert!(error.is_too_many_restarts());
    assert_eq!(error.child().unwrap().as_str(), "y");
}

#[tokio::test(start_paused = true)]
async fn escalation_travels_up_to_the_root_with_its_reasons() {
    let puppets = Puppets::default();
    let group = outer(&puppets, 0, 0).await;

    puppets.pull("x", Pull::Fail).await;
    let error = group.ended().await.into_result().unwrap_err();

    assert_eq!(puppets.log(), "stop y1, stop b1, stop a1");
    let mut reasons = Vec::new();
    let mut next: Option<&dyn Error> = Some(&error);
    while let Some(error) = next {
        reasons.push(error.to_string());
        next = error.source();
    }
    assert_eq!(
        reasons,
        [
            "group `group`: child `inner` needs more than 0 restarts within 60s",
            "group `inner`: child `x` needs more than 0 restarts within 60s",
            "pulled",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_goes_through_the_tree_in_reverse_with_its_cause() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = |name| {
        let heard = heard.clone();
        Child::permanent(name, move |context: ChildContext| {
            let heard = heard.clone();
            async move {
                let cause = context.stopping().await;
                heard.lock().unwrap().push((name, cause.as_str()));
            }
        })
    };
    let inside = listener("inside");
    let mut inside = Some(inside);
    let group = group(OneForOne, 0)
        .child(listener("first"))
        .child(Child::group("inner", Permanent, move || {
            Supervisor::builder("inner", rules(OneForOne, 0)).child(inside.take().unwrap())
        }))
        .child(listener("last"))
        .start()
        .await
        .unwrap();
    settle().await;

    group.stop_with(Cause::Shutdown).await;

    assert_eq!(
        *heard.lock().unwrap(),
        [
            ("last", "shutdown"),
            ("inside", "shutdown"),
            ("first", "shutdown")
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_inner_group_that_cannot_start_fails_the_start_of_the_outer_one() {
    let error = group(OneForOne, 0)
        .child(Child::group("inner", Permanent, || {
            Supervisor::builder("inner", rules(OneForOne, 0)).child(
                Child::permanent("broken", async |_| panic!("no port"))
                    .ready_within(Duration::from_secs(1)),
            )
        }))
        .start()
        .await
        .unwrap_err();

    assert!(error.is_start_failed());
    let inner = error
        .source()
        .unwrap()
        .downcast_ref::<GroupError>()
        .unwrap();
    assert!(inner.is_start_failed());
    assert_eq!(
        inner.child_end().unwrap().panic().unwrap().message(),
        "no port"
    );
}

#[tokio::test(start_paused = true)]
async fn a_description_that_panics_or_is_refused_is_a_failure_of_that_child() {
    for panics in [true, false] {
        let error = group(OneForOne, 0)
            .child(Child::group("inner", Permanent, move || {
                assert!(!panics, "while describing");
                let hasty = Child::permanent("x", async |_| {}).stop_within(Duration::ZERO);
                Supervisor::builder("inner", rules(OneForOne, 0)).child(hasty)
            }))
            .start()
            .await
            .unwrap_err();

        let end = error.child_end().unwrap();
        assert_eq!(end.kind(), if panics { End::Panicked } else { End::Failed });
    }
}

#[tokio::test(start_paused = true)]
async fn an_inner_group_that_is_aborted_takes_all_inside_along_and_waits_for_their_cleanups() {
    let puppets = Puppets::default();
    let p = puppets.clone();
    let group = group(OneForOne, 0)
        .child(puppets.permanent("a"))
        .child(
            Child::group("inner", Permanent, move || {
                let p = p.clone();
                Supervisor::builder("inner", rules(OneForOne, 9)).child(Child::permanent(
                    "x",
                    move |context: ChildContext| {
                        let p = p.clone();
                        async move {
                            context.scope().defer_async("give back", async move || {
                                seconds(3).await;
                                p.write("gave back");
                            });
                            std::future::pending::<()>().await;
                        }
                    },
                ))
            })
            .stop_at_once(),
        )
        .start()
        .await
        .unwrap();
    settle().await;
    let begun = clock::now();

    let end = group.stop().await;

    assert!(!end.is_failure());
    assert_eq!((clock::now() - begun).as_secs(), 3);
    assert_eq!(puppets.log(), "start a1, gave back, stop a1");
    assert_eq!(state(&group, "inner"), ChildState::AtRest);
}

#[tokio::test(start_paused = true)]
async fn an_inner_group_whose_work_is_done_is_done() {
    let puppets = Puppets::default();
    let p = puppets.clone();
    let group = group(OneForOne, 0)
        .child(Child::group("inner", Transient, move || {
            let rules = rules(OneForOne, 0)
                .with_auto_shutdown(steadfast_core::supervise::AutoShutdown::AllSignificant);
            Supervisor::builder("inner", rules).child(p.child("x", Transient).significant())
        }))
        .start()
        .await
        .unwrap();
    settle().await;

    puppets.pull("x", Pull::Done).await;

    let inner = child(&group, "inner");
    assert_eq!(inner.state, ChildState::AtRest);
    assert_eq!(inner.last_end.unwrap().kind(), End::Normal);
    assert!(matches!(group.snapshot().state, GroupState::Running));
}

#[tokio::test(start_paused = true)]
async fn each_life_knows_its_place_and_is_the_root_of_a_trace() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let writer = seen.clone();
    let caller = context::Context::new().with_trace_id(context::TraceId::random());
    let starting = group(OneForOne, 0)
        .child(Child::group("inner", Permanent, move || {
            let writer = writer.clone();
            Supervisor::builder("unseen", rules(OneForOne, 9)).child(Child::permanent(
                "x",
                move |_| {
                    let here = (context::scope_path().to_string(), context::current());
                    writer.lock().unwrap().push(here);
                    async { seconds(1).await }
                },
            ))
        }))
        .start();
    let group = caller.wrap(starting).await.unwrap();
    seconds(5).await;

    let seen = seen.lock().unwrap();
    assert!(seen.len() >= 2);
    let mut traces: Vec<_> = seen
        .iter()
        .map(|(_, context)| context.trace_id().unwrap())
        .collect();
    let inside = child(&group, "inner");
    let x = inside.group.unwrap().children[0].clone();
    assert!(traces.contains(&x.last_end.unwrap().trace_id()));
    traces.push(caller.trace_id().unwrap());
    traces.push(inside.trace_id.unwrap());
    traces.sort_by_key(ToString::to_string);
    traces.dedup();
    assert_eq!(traces.len(), seen.len() + 2);
    for (path, context) in &*seen {
        assert_eq!(path, "group > inner > x");
        assert!(context.deadline().is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_group_in_which_a_child_cannot_be_ended_is_not_started_a_second_time() {
    // Keeps a thread of the runtime awake: one that sleeps does not take over the timers of one
    // that blocks.
    let awake = steadfast_core::spawn("awake", async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let millis = Duration::from_millis;
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::new(Mutex::new(blocked));
    let lives = Arc::new(Mutex::new(0));
    let started = lives.clone();
    let describe = move || {
        let (blocked, started) = (blocked.clone(), started.clone());
        let rules = rules(OneForAll, 0).with_abort_limit(millis(20)).unwrap();
        Supervisor::builder("inner", rules)
            .child(Child::permanent("fails", async |_| {
                clock::sleep(Duration::from_millis(20)).await;
                panic!("takes the group down");
            }))
            .child(
                Child::permanent("stuck", move |_| {
                    let (blocked, started) = (blocked.clone(), started.clone());
                    async move {
                        *started.lock().unwrap() += 1;
                        let _ = blocked.lock().unwrap().recv();
                    }
                })
                .stop_within(millis(20)),
            )
    };
    let rules = Rules::new(
        OneForOne,
        Intensity::new(9, Duration::from_secs(60)).unwrap(),
    );
    let backoff = Backoff::new(millis(1), millis(1)).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = heard.clone();
    let group = Supervisor::builder("outer", rules.with_backoff(backoff))
        .observe(move |event| hear.lock().unwrap().push(event.kind.as_str()))
        .child(Child::group("inner", Permanent, describe))
        .start()
        .await
        .unwrap();

    let ended = clock::timeout(Duration::from_secs(20), group.ended()).await;
    let lived = *lives.lock().unwrap();

    assert_eq!(lived, 1, "a child lives once");
    let error = ended.unwrap().into_result().unwrap_err();
    assert!(error.is_stuck(), "{error}");
    assert_eq!(error.child().unwrap().as_str(), "inner");
    assert!(heard.lock().unwrap().contains(&"written_off"));
    drop(release);
    awake.abort();
}
