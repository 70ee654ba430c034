//! Async scopes that are dropped at an await: by a timeout, `select!`, abort, or a client that
//! leaves.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use steadfast_core::{
    BoxError, Cause, Outcome, Scope, ScopeError, cancel, clock, context, reaper, scope,
};

use crate::support::{Bomb, Events, Log, Reports};

const SECOND: Duration = Duration::from_secs(1);

/// Polls a future until it waits, `polls` times, then drops it.
fn poll_and_drop<F: Future>(future: F, polls: usize) {
    let mut future = Box::pin(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        assert!(future.as_mut().poll(&mut cx).is_pending());
    }
}

/// Waits so many polls.
struct Polls(usize);

impl Future for Polls {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn each_cleanup_runs_once_and_in_order_wherever_the_future_is_dropped() {
    // Counts how often the whole takes a poll, then drops it before each of them.
    let mut total = None;
    for polls in 0..100 {
        let log = Log::default();
        let reports = Reports::default();
        let (s1, s2, s3) = (
            log.saying("async 1"),
            log.saying("async 2"),
            log.saying("own"),
        );
        let say = log.clone();
        let running = scope("swept")
            .on_report(reports.keep())
            .run(async move |s| {
                s.defer("sync 1", say.saying("sync 1"));
                Polls(2).await;
                s.defer_async("async 1", async move || {
                    Polls(2).await;
                    s1();
                    Polls(1).await;
                });
                s.spawn("child", Polls(2));
                Polls(1).await;
                let _owned = s.own("own", (), async move |()| s3());
                s.defer("sync 2", say.saying("sync 2"));
                s.defer_async("async 2", async move || {
                    s2();
                    Polls(2).await;
                });
                Polls(1).await;
                Ok(())
            });

        let mut running = Box::pin(running);
        let mut ended = false;
        for _ in 0..polls {
            let polled = std::future::poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx))).await;
            if polled.is_ready() {
                ended = true;
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(running);
        reaper::drain().await;

        let lines = log.lines();
        let all = ["async 2", "sync 2", "own", "async 1", "sync 1"];
        let registered = &all[all.len() - lines.len()..];
        assert_eq!(lines, registered, "dropped after {polls} polls");
        let reports = reports.all();
        assert_eq!(
            reports.len(),
            usize::from(polls > 0),
            "dropped after {polls} polls"
        );
        if let [report] = &reports[..] {
            assert!(
                report.entries.iter().all(|(_, status)| *status == "ran"),
                "{report:?}"
            );
            assert_eq!(report.entries.len(), lines.len());
            assert_eq!(report.reaped, !ended && !lines.is_empty());
        }
        if ended {
            assert_eq!(lines.len(), all.len());
            total = Some(polls);
            break;
        }
    }
    assert!(total.unwrap() > 8, "{total:?}");
}

#[tokio::test]
async fn a_scope_dropped_before_its_first_poll_has_done_nothing() {
    let live = Arc::new(());
    let held = live.clone();
    let reports = Reports::default();

    drop(
        scope("never")
            .on_report(reports.keep())
            .run(async move |_| {
                drop(held);
                Ok::<_, BoxError>(())
            }),
    );
    reaper::drain().await;

    assert_eq!(Arc::strong_count(&live), 1);
    assert!(reports.all().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_scope_is_cleaned_up_by_the_reaper_with_the_cause() {
    let log = Log::default();
    let reports = Reports::default();

    let running = scope("dropped")
        .on_report(reports.keep())
        .run::<(), _, _>(async |s| {
            let say = log.saying("own");
            let _owned = s.own("own", (), async move |()| say());
            let say = log.saying("slow");
            s.defer_async("slow", async move || {
                clock::sleep(SECOND).await;
                say();
            });
            let look = log.clone();
            s.defer_outcome("look", move |outcome| match outcome {
                Outcome::Cancelled(cause) => look.say(cause.to_string()),
                other => look.say(format!("{other:?}")),
            });
            std::future::pending().await
        });
    let timed_out = clock::timeout(SECOND, running).await;
    assert!(timed_out.is_err());
    reaper::drain().await;

    log.expect(&["timed out after 1s", "slow", "own"]);
    let report = reports.only();
    let start = "dropped ended cancelled, dropped and reaped";
    assert!(report.text.starts_with(start), "{}", report.text);
    report.expect(&[("look", "ran"), ("slow", "ran"), ("own", "ran")]);
}

#[tokio::test(start_paused = true)]
async fn whoever_drops_may_say_why() {
    type Case = (&'static str, fn(Dropped));
    let cases: [Case; 4] = [
        ("dropped", |future| drop(future)),
        ("client_gone", |future| {
            let mut future = Box::pin(cancel::if_dropped(Cause::ClientGone, future));
            poll_once(future.as_mut());
        }),
        ("shed", |future| {
            cancel::dropping(Cause::Shed, || drop(future))
        }),
        ("lease_lost", |mut future| {
            // The innermost word counts: it is said last.
            cancel::dropping(Cause::Shed, || {
                cancel::dropping(Cause::LeaseLost, || poll_once(future.as_mut()));
                cancel::dropping(Cause::LeaseLost, || drop(future));
            });
        }),
    ];
    type Dropped = Pin<Box<dyn Future<Output = Result<(), ScopeError<BoxError>>> + Send>>;
    fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(future.poll(&mut cx).is_pending());
    }

    for (expected, drop_it) in cases {
        let log = Log::default();
        let look = log.clone();
        let mut running: Dropped = Box::pin(scope("why").run(async move |s| {
            s.defer_outcome("look", move |outcome| {
                if let Outcome::Cancelled(cause) = outcome {
                    look.say(cause.as_str());
                }
            });
            std::future::pending().await
        }));
        poll_once(running.as_mut());
        drop_it(running);
        reaper::drain().await;

        log.expect(&[expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn select_abort_and_the_end_of_a_child_clean_up_alike() {
    fn run(log: &Log) -> impl Future<Output = ()> + Send + use<> {
        let say = log.saying("cleaned up");
        async move {
            let _ = scope("dropped")
                .run::<(), _, _>(async move |s| {
                    s.defer_async("clean up", async move || {
                        clock::sleep(SECOND).await;
                        say();
                    });
                    std::future::pending().await
                })
                .await;
        }
    }
    let log = Log::default();

    tokio::select! {
        biased;
        () = run(&log) => unreachable!("pending"),
        () = tokio::task::yield_now() => {}
    }
    reaper::drain().await;
    log.expect(&["cleaned up"]);

    let log = Log::default();
    let task = steadfast_core::spawn("task", run(&log));
    tokio::task::yield_now().await;
    task.abort();
    assert!(task.await.is_err());
    reaper::drain().await;
    log.expect(&["cleaned up"]);

    let log = Log::default();
    let say = log.saying("outer");
    let _ = scope("outer")
        .run::<(), _, _>(async |s| {
            s.defer("outer", say);
            s.spawn("child", run(&log));
            tokio::task::yield_now().await;
            Err("ends the child".into())
        })
        .await;
    log.expect(&["cleaned up", "outer"]);
}

#[tokio::test(start_paused = true)]
async fn cleanups_of_a_dropped_scope_that_panic_fail_or_hang_skip_none_and_are_reported() {
    let log = Log::default();
    let reports = Reports::default();

    poll_and_drop(
        scope("troubles")
            .cleanup_limit(SECOND)
            .on_report(reports.keep())
            .run::<(), _, _>(async |s| {
                s.defer("first", log.saying("first"));
                s.defer("panics", || panic!("sync"));
                s.defer_async("panics later", async || {
                    tokio::task::yield_now().await;
                    panic!("async")
                });
                s.defer_async("fails", async || Err::<(), _>("failed"));
                s.defer_async("hangs", std::future::pending::<()>);
                s.defer("last", log.saying("last"));
                std::future::pending().await
            }),
        1,
    );
    reaper::drain().await;

    log.expect(&["last", "first"]);
    let report = reports.only();
    report.expect(&[
        ("last", "ran"),
        ("hangs", "timed_out"),
        ("fails", "failed"),
        ("panics later", "panicked"),
        ("panics", "panicked"),
        ("first", "ran"),
    ]);
    assert_eq!((report.verdict, report.reaped), ("panicked", true));
}

#[tokio::test]
async fn an_edit_reaches_only_the_report() {
    let reports = Reports::default();

    poll_and_drop(
        scope("answered").on_report(reports.keep()).run(async |s| {
            s.defer_outcome("answer", |outcome| *outcome = Outcome::Ok(1));
            std::future::pending().await
        }),
        1,
    );
    reaper::drain().await;

    assert_eq!(reports.only().verdict, "ok");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_had_ended_keeps_its_outcome_when_the_scope_is_dropped_in_a_cleanup() {
    let log = Log::default();
    let reports = Reports::default();
    let say = log.saying("undone");

    poll_and_drop(
        scope("committed")
            .on_report(reports.keep())
            .run(async move |s| {
                s.undo("undo", async move || say());
                s.defer_async("slow", async || clock::sleep(SECOND).await);
                Ok(1)
            }),
        1,
    );
    reaper::drain().await;

    log.expect(&[]);
    let report = reports.only();
    assert_eq!((report.verdict, report.reaped), ("ok", true));
    report.expect(&[("slow", "ran"), ("undo", "not_needed")]);
}

#[tokio::test(start_paused = true)]
async fn a_scope_dropped_while_it_joins_its_children_cancels_them() {
    let log = Log::default();
    let reports = Reports::default();
    let say = log.saying("child ended");

    poll_and_drop(
        scope("joining")
            .on_report(reports.keep())
            .timeout(60 * SECOND)
            .run(async |s| {
                s.defer("cleanup", log.saying("cleanup"));
                s.spawn("child", async move {
                    clock::sleep(SECOND).await;
                    say();
                });
                Ok(())
            }),
        1,
    );
    reaper::drain().await;

    log.expect(&["cleanup"]);
    assert_eq!(reports.only().verdict, "cancelled");
}

#[tokio::test]
async fn children_of_a_dropped_scope_are_told_the_cause() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut running = Box::pin(scope("dropped").run::<(), _, _>(async |s| {
        let token = s.token();
        let child = s.spawn("child", std::future::pending::<()>());
        steadfast_core::spawn("joiner", async move {
            let _ = tell.send((child.await, token.cancelled().await));
        });
        std::future::pending().await
    }));
    assert!(
        running
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );

    cancel::dropping(Cause::ClientGone, || drop(running));

    let (child, token) = told.await.unwrap();
    assert!(matches!(
        child,
        Err(steadfast_core::TaskError::Cancelled(Cause::ClientGone))
    ));
    assert!(matches!(token, Cause::ClientGone));
}

#[tokio::test]
async fn a_handle_that_outlives_a_dropped_scope_runs_new_cleanups_at_once() {
    for cleanups in [0, 1] {
        let log = Log::default();
        let mut kept: Option<Scope<(), BoxError>> = None;
        poll_and_drop(
            scope("dropped").run(async |s| {
                if cleanups == 1 {
                    s.defer("cleanup", log.saying("cleanup"));
                }
                kept = Some(s);
                std::future::pending().await
            }),
            1,
        );
        reaper::drain().await;

        let kept = kept.unwrap();
        kept.defer("late", log.saying("late"));

        let expected: &[_] = if cleanups == 1 {
            &["cleanup", "late"]
        } else {
            &["late"]
        };
        log.expect(expected);
    }
}

#[tokio::test]
async fn a_cleanup_that_is_registered_while_the_reaper_works_runs_in_turn() {
    let log = Log::default();

    poll_and_drop(
        scope("dropped").run::<(), _, _>(async |s| {
            s.defer("first", log.saying("first"));
            let (handle, inner) = (s.clone(), log.saying("inner"));
            s.defer_async("registers", async move || {
                tokio::task::yield_now().await;
                handle.defer("inner", inner);
            });
            std::future::pending().await
        }),
        1,
    );
    reaper::drain().await;

    log.expect(&["inner", "first"]);
}

#[tokio::test]
async fn all_that_a_dropped_scope_held_is_released_although_a_handle_lives_on() {
    let live = Arc::new(());
    let held: [_; 4] = std::array::from_fn(|_| live.clone());
    let mut kept = None;

    poll_and_drop(
        scope("dropped").run(async |s| {
            let [a, b, c, d] = held;
            s.defer_async("waits", async || tokio::task::yield_now().await);
            s.defer("sync", move || drop(a));
            s.defer_async("async", async move || drop(b));
            let _owned = s.own("own", c, async |c| drop(c));
            kept = Some(move || s.token());
            s_value(d)
        }),
        1,
    );
    fn s_value(value: Arc<()>) -> Result<Arc<()>, BoxError> {
        Ok(value)
    }
    reaper::drain().await;

    assert_eq!(Arc::strong_count(&live), 1);
    assert!(kept.unwrap()().is_cancelled());
}

#[tokio::test]
async fn a_body_whose_drop_panics_is_contained() {
    let log = Log::default();
    let say = log.saying("cleaned up");

    let ended = scope("bomb")
        .cancel_on(&{
            let cancel = steadfast_core::Cancel::new();
            cancel.cancel(Cause::Shed);
            cancel
        })
        .run::<(), _, _>(async move |s| {
            s.defer("clean up", say);
            let _bomb = Bomb("dropped at an await");
            std::future::pending().await
        })
        .await;

    assert!(matches!(ended.unwrap_err().cause(), Some(Cause::Shed)));
    log.expect(&["cleaned up"]);
}

#[tokio::test]
async fn a_value_whose_drop_panics_in_the_reaper_is_contained() {
    let log = Log::default();

    poll_and_drop(
        scope("bomb").run(async |s| {
            s.defer("last", log.saying("last"));
            s.defer_async("waits", async || tokio::task::yield_now().await);
            Ok(Bomb("nobody takes it"))
        }),
        1,
    );
    reaper::drain().await;

    log.expect(&["last"]);
}

#[test]
fn a_scope_dropped_outside_of_any_runtime_is_cleaned_up_on_the_fallback_thread() {
    let (say, said) = std::sync::mpsc::channel();
    let (report, reported) = std::sync::mpsc::channel();

    poll_and_drop(
        scope("no runtime")
            .on_report(move |r| report.send(r.to_string()).unwrap())
            .run::<(), _, _>(async |s| {
                let thread = move || {
                    let name = std::thread::current().name().map(str::to_owned);
                    say.send((name, context::scope_path().to_string())).unwrap();
                };
                s.defer_async("async", async move || {
                    clock::sleep(Duration::from_millis(1)).await;
                    thread();
                });
                std::future::pending().await
            }),
        1,
    );

    let (thread, path) = said.recv_timeout(10 * SECOND).unwrap();
    assert_eq!(
        (thread.as_deref(), path.as_str()),
        (Some("steadfast-reaper"), "no runtime")
    );
    let report = reported.recv_timeout(10 * SECOND).unwrap();
    assert!(report.contains("dropped and reaped"), "{report}");
}

#[test]
fn a_scope_dropped_while_its_thread_unwinds_is_cleaned_up() {
    let (say, said) = std::sync::mpsc::channel();

    let panicked = std::thread::spawn(move || {
        let mut running = Box::pin(scope("unwinding").run::<(), _, _>(async |s| {
            s.defer("clean up", move || {
                say.send(std::thread::panicking()).unwrap()
            });
            std::future::pending().await
        }));
        assert!(
            running
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        panic!("with a scope on the stack");
    })
    .join();

    assert!(panicked.is_err());
    assert!(!said.recv_timeout(10 * SECOND).unwrap());
}

#[tokio::test]
async fn if_the_cleanups_themselves_are_lost_each_is_still_told() {
    /// Panics when the span of a scope is entered for the second time, which is by the reaper.
    struct Breaks(Arc<AtomicUsize>);
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Breaks {
        fn on_enter(&self, _: &tracing::span::Id, _: tracing_subscriber::layer::Context<'_, S>) {
            if self.0.fetch_add(1, Ordering::Relaxed) == 2 {
                panic!("in the subscriber");
            }
        }
    }
    use tracing_subscriber::layer::SubscriberExt;
    let entered = Arc::new(AtomicUsize::new(0));
    let subscriber = tracing_subscriber::registry().with(Breaks(entered.clone()));
    let _listening = tracing::subscriber::set_default(subscriber);
    let log = Log::default();
    let reports = Reports::default();
    let hold = Arc::new(());

    let held = hold.clone();
    poll_and_drop(
        scope("lost")
            .on_report(reports.keep())
            .run::<(), _, _>(async |s| {
                s.defer("sync", log.saying("sync"));
                s.defer_async("async", async move || drop(held));
                std::future::pending().await
            }),
        1,
    );
    reaper::drain().await;

    assert!(entered.load(Ordering::Relaxed) > 2);
    log.expect(&["sync"]);
    reports
        .only()
        .expect(&[("async", "runtime_gone"), ("sync", "ran")]);
    assert_eq!(Arc::strong_count(&hold), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_scope_emits_its_end_event_once() {
    let events = Events::default();
    let _listening = events.listen();

    poll_and_drop(
        scope("empty").run::<(), _, _>(async |_| std::future::pending().await),
        1,
    );
    poll_and_drop(
        scope("with cleanups").run::<(), _, _>(async |s| {
            s.defer_async("slow", async || clock::sleep(2 * SECOND).await);
            std::future::pending().await
        }),
        1,
    );
    reaper::drain().await;

    let ends = events.with_message("scope ended");
    let told: Vec<_> = ends
        .iter()
        .map(|e| {
            (
                e.field("scope"),
                e.field("outcome"),
                e.field("reaped"),
                e.field("duration_s"),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("empty", "cancelled", "false", "0.0"),
            ("with cleanups", "cancelled", "true", "2.0")
        ]
    );
}
