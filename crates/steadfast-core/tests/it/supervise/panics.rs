//! Everything of a child that can panic does, and nobody else is harmed.

use std::error::Error;
use std::fmt;

use super::*;
use steadfast_core::Cause;
use steadfast_core::supervise::{ChildContext, End, GroupEnd};

use Strategy::OneForOne;

/// Panics when it is dropped, if it is armed.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// Panics when it is cloned.
struct Uncloneable;

impl Clone for Uncloneable {
    fn clone(&self) -> Self {
        panic!("in Clone")
    }
}

/// Panics in `Display` or in `Drop`.
struct Nasty {
    on_display: bool,
    _on_drop: Option<Bomb>,
}

impl fmt::Display for Nasty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(!self.on_display, "in Display");
        f.write_str("nasty")
    }
}

impl fmt::Debug for Nasty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nasty")
    }
}

impl Error for Nasty {}

/// Fails at its first run in the way given, then behaves.
fn once(mut fail: impl FnMut(&ChildContext) -> Option<Failing> + Send + 'static) -> Child {
    Child::permanent("bad", move |context: ChildContext| {
        let failing = (context.run() == 1).then(|| fail(&context)).flatten();
        failing.unwrap_or_else(|| {
            Box::pin(async move {
                context.stopping().await;
                Ok(())
            })
        })
    })
}

type Failing = std::pin::Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

fn failing<F>(future: F) -> Option<Failing>
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    Some(Box::pin(future))
}

/// Ends well, and panics when it is dropped afterwards.
struct PanicsInDrop(Option<BoxError>);

impl Future for PanicsInDrop {
    type Output = Result<(), BoxError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::task::Poll::Ready(self.0.take().map_or(Ok(()), Err))
    }
}

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("in the future's Drop");
    }
}

fn nasty(on_display: bool, on_drop: bool) -> BoxError {
    Box::new(Nasty {
        on_display,
        _on_drop: on_drop.then(|| Bomb("in the error's Drop")),
    })
}

#[tokio::test(start_paused = true)]
async fn whatever_panics_counts_as_a_failure_of_that_child_alone() {
    let cases: Vec<(&str, Child, End, &str)> = vec![
        (
            "body",
            once(|_| failing(async { panic!("in the body") })),
            End::Panicked,
            "in the body",
        ),
        (
            "payload whose drop panics",
            once(|_| failing(async { std::panic::panic_any(Bomb("in the payload's Drop")) })),
            End::Panicked,
            "(payload that is not a text)",
        ),
        (
            "drop of the future after its end",
            once(|_| failing(PanicsInDrop(None))),
            End::Panicked,
            "in the future's Drop",
        ),
        (
            "drop of the future, and of the error it gave",
            once(|_| failing(PanicsInDrop(Some(nasty(false, true))))),
            End::Panicked,
            "in the future's Drop",
        ),
        (
            "error whose display panics",
            once(|_| failing(async { Err(nasty(true, false)) })),
            End::Failed,
            "in Display",
        ),
        (
            "error whose drop panics",
            once(|_| failing(async { Err(nasty(false, true)) })),
            End::Failed,
            "nasty",
        ),
        (
            "cleanup",
            once(|context| {
                context.scope().defer("bad", || panic!("in a cleanup"));
                failing(async { Ok(()) })
            }),
            End::Panicked,
            "in a cleanup",
        ),
        (
            "predicate",
            once(|_| failing(async { Err("asks".into()) })).normal_if(|_| panic!("in a predicate")),
            End::Panicked,
            "in a predicate",
        ),
    ];
    for (case, bad, kind, text) in cases {
        let puppets = Puppets::default();
        let group = group(OneForOne, 3)
            .child(puppets.permanent("before"))
            .child(bad)
            .child(puppets.permanent("after"))
            .start()
            .await
            .unwrap_or_else(|error| panic!("{case}: {error}"));

        seconds(3).await;

        let bad = child(&group, "bad");
        assert_eq!(
            (bad.state, bad.restarts),
            (ChildState::Running, 1),
            "{case}"
        );
        let end = bad.last_end.unwrap();
        assert_eq!(end.kind(), kind, "{case}: {end}");
        assert!(end.to_string().contains(text), "{case}: {end}");
        assert_eq!(puppets.log(), "start before1, start after1", "{case}");
        assert!(!group.stop().await.is_failure(), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_factory_that_panics_now_and_then_is_called_again() {
    for from_clone in [false, true] {
        let seed = Uncloneable;
        let puppets = Puppets::default();
        let group = group(OneForOne, 5)
            .child(puppets.permanent("before"))
            .child(Child::permanent("bad", move |context: ChildContext| {
                match context.run() {
                    2 if from_clone => drop(seed.clone()),
                    2 => panic!("in the factory"),
                    _ => {}
                }
                async move {
                    if context.run() == 1 {
                        panic!("first life");
                    }
                    context.stopping().await;
                }
            }))
            .start()
            .await
            .unwrap();

        seconds(3).await;

        let bad = child(&group, "bad");
        assert_eq!((bad.state, bad.runs), (ChildState::Running, 3));
        let message = bad.last_end.as_ref().unwrap().panic().unwrap().message();
        assert!(["in the factory", "in Clone"].contains(&message));
        assert_eq!(puppets.log(), "start before1");
    }
}

#[tokio::test(start_paused = true)]
async fn observers_that_panic_harm_neither_children_nor_other_observers() {
    let heard = Arc::new(Mutex::new(0));
    let count = heard.clone();
    let puppets = Puppets::default();
    let builder = group(OneForOne, 3)
        .observe(|event| panic!("heard {}", event.kind.as_str()))
        .observe(move |_| *count.lock().unwrap() += 1);
    let group = puppets.trio(builder, [Restart::Permanent; 3]).await;

    puppets.pull("b", Pull::Fail).await;
    seconds(2).await;

    assert_eq!(puppets.log(), "start b2");
    // Started and ready for each of four lives, ended, restarting, and the group ready.
    assert_eq!(*heard.lock().unwrap(), 11);
    assert!(!group.stop().await.is_failure());
}

#[tokio::test(start_paused = true)]
async fn what_a_factory_captures_may_panic_when_it_is_dropped() {
    let bomb = || Bomb("in the factory's Drop");
    let puppets = Puppets::default();
    let carry = |bomb: Bomb, restart| {
        Child::new("bad", restart, move |context: ChildContext| {
            let _ = &bomb;
            async move {
                context.stopping().await;
            }
        })
    };
    let group = group(OneForOne, 1)
        .child(puppets.permanent("before"))
        .child(carry(bomb(), Restart::Permanent))
        .child(carry(bomb(), Restart::Temporary))
        .start()
        .await
        .unwrap();
    let [first, second] = [1, 2].map(|index| group.snapshot().children[index].id);

    group.remove_child(first).await.unwrap();
    group.stop_child(second).await.unwrap();
    settle().await;

    assert_eq!(group.snapshot().children.len(), 1);
    assert_eq!(state(&group, "before"), ChildState::Running);
    let late = group.add_child(carry(bomb(), Restart::Permanent)).await;
    assert!(late.is_ok());
    assert!(!group.stop().await.is_failure());
}

#[tokio::test(start_paused = true)]
async fn a_future_whose_drop_panics_can_be_aborted() {
    struct Stubborn(#[allow(dead_code, reason = "it is there for its Drop")] Bomb);
    impl Future for Stubborn {
        type Output = ();

        fn poll(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<()> {
            std::task::Poll::Pending
        }
    }

    let puppets = Puppets::default();
    let group = group(OneForOne, 1)
        .child(puppets.permanent("before"))
        .child(Child::permanent("bad", |_| {
            Stubborn(Bomb("in the drop of what was aborted"))
        }))
        .start()
        .await
        .unwrap();

    let end = group.stop().await;

    assert!(!end.is_failure());
    assert_eq!(
        child(&group, "bad").last_end.unwrap().kind(),
        End::Cancelled
    );
    assert_eq!(puppets.log(), "start before1, stop before1");
}

#[tokio::test(start_paused = true)]
async fn a_cause_that_comes_too_late_may_panic_when_it_is_dropped() {
    let cause = || {
        Cause::Other(Arc::new(Nasty {
            on_display: false,
            _on_drop: Some(Bomb("in the cause's Drop")),
        }))
    };
    let puppets = Puppets::default();
    let group = puppets
        .trio(group(OneForOne, 3), [Restart::Permanent; 3])
        .await;

    let first = group.stop_with(Cause::Shutdown);
    let second = group.stop_with(cause());
    let (first, second) = tokio::join!(first, second);

    for end in [first, second] {
        assert!(matches!(end, GroupEnd::Stopped(Cause::Shutdown)), "{end}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_harms_nobody() {
    struct Broken;
    impl std::task::Wake for Broken {
        fn wake(self: Arc<Self>) {
            panic!("broken waker");
        }
    }
    let waker = Arc::new(Broken).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let puppets = Puppets::default();
    let patient = Child::permanent("patient", |context: ChildContext| async move {
        let waker = Arc::new(Broken).into();
        let mut stopping = Box::pin(context.stopping());
        let polled = stopping
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&waker));
        assert!(polled.is_pending());
        clock::sleep(Duration::from_secs(86_400)).await;
    });
    let group = puppets
        .trio(group(OneForOne, 3), [Restart::Permanent; 3])
        .await;
    group.add_child(patient).await.unwrap();
    let id = child(&group, "patient").id;
    let mut ended = Box::pin(group.ended());
    assert!(ended.as_mut().poll(&mut cx).is_pending());
    let mut stopped = Box::pin(group.stop_child(id));
    assert!(stopped.as_mut().poll(&mut cx).is_pending());

    puppets.pull("a", Pull::Fail).await;
    seconds(20).await;
    assert_eq!(puppets.log(), "start a2");
    assert_eq!(state(&group, "patient"), ChildState::AtRest);

    assert!(!group.stop().await.is_failure());
    assert_eq!(puppets.log(), "stop c1, stop b1, stop a2");
}
