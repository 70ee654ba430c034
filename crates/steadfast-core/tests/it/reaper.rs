//! The reaper, with its runtime and after its end.

use std::pin::Pin;
use std::sync::mpsc::{self, Receiver};
use std::task::{Context, Waker};
use std::time::Duration;

use steadfast_core::{clock, context, reaper, scope, spawn};
use tokio::runtime::{Builder, Runtime};

use crate::support::{Log, Reports};

const SECOND: Duration = Duration::from_secs(1);

/// A limit that real time is spent on.
const SHORT: Duration = Duration::from_millis(30);

const LONG: Duration = Duration::from_secs(20);

fn single() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) {
    assert!(
        future
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_every_cleanup_of_every_dropped_scope() {
    let log = Log::default();
    for seconds in [3, 1, 2] {
        let say = log.clone();
        let mut running = Box::pin(scope("dropped").run::<(), _, _>(async move |s| {
            s.defer_async("slow", async move || {
                clock::sleep(seconds * SECOND).await;
                say.say(seconds.to_string());
            });
            std::future::pending().await
        }));
        poll(running.as_mut());
    }
    assert!(reaper::in_flight() >= 3);

    reaper::drain().await;

    log.expect(&["1", "2", "3"]);
}

#[test]
fn cleanups_on_their_way_when_the_runtime_ends_are_over_when_its_end_returns() {
    let log = Log::default();
    let reports = Reports::default();
    let runtime = single();
    let (outer, inner) = (log.saying("outer"), log.saying("inner"));
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let keep = reports.keep();

    runtime.block_on(async move {
        let running = scope("outer").on_report(keep).run(async move |s| {
            s.defer("outer", outer);
            scope("inner")
                .run::<(), _, _>(async move |s| {
                    s.defer("inner", inner);
                    s.defer_async("waits", async move || {
                        begun.send(()).unwrap();
                        tokio::task::yield_now().await;
                        // A new timer, which the fallback thread has.
                        clock::sleep(SHORT).await;
                    });
                    std::future::pending().await
                })
                .await
                .map_err(steadfast_core::ScopeError::into_error)
        });
        let mut running = Box::pin(running);
        poll(running.as_mut());
        drop(running);
        has_begun.await.unwrap();
    });
    drop(runtime);

    log.expect(&["inner", "outer"]);
    assert!(reports.only().reaped);
}

#[test]
fn a_cleanup_that_waits_for_its_dead_runtime_says_so_and_the_next_one_runs() {
    let log = Log::default();
    let reports = Reports::default();
    let runtime = single();
    let (begun, has_begun) = tokio::sync::oneshot::channel();

    runtime.block_on(async {
        let mut running = Box::pin(
            scope("dropped")
                .cleanup_limit(SHORT)
                .on_report(reports.keep())
                .run::<(), _, _>(async |s| {
                    s.defer("next", log.saying("next"));
                    s.defer_async("hangs", {
                        let limit = s.token();
                        async move || drop(limit.cancelled().await)
                    });
                    s.defer_async("timer", async move || {
                        let sleep = clock::sleep(LONG);
                        begun.send(()).unwrap();
                        sleep.await;
                    });
                    std::future::pending().await
                }),
        );
        poll(running.as_mut());
        drop(running);
        has_begun.await.unwrap();
    });
    drop(runtime);

    log.expect(&["next"]);
    reports
        .only()
        .expect(&[("timer", "runtime_gone"), ("hangs", "ran"), ("next", "ran")]);
}

#[test]
fn whatever_goes_wrong_without_a_runtime_is_told_as_that() {
    let (report, reported) = mpsc::channel();
    let mut running = Box::pin(
        scope("no runtime")
            .cleanup_limit(SHORT)
            .on_report(move |told| {
                let entries = told.entries.iter();
                let entries = entries.map(|entry| (entry.name.to_string(), entry.status.as_str()));
                report.send(entries.collect::<Vec<_>>()).unwrap();
            })
            .run::<(), _, _>(async |s| {
                s.defer_async("well", async || ());
                s.defer_async("hangs", std::future::pending::<()>);
                s.defer_async("fails", async || Err::<(), _>("no connection"));
                s.defer_async("panics", async || panic!("no reactor running"));
                s.defer("panics at once", || panic!("no reactor running"));
                std::future::pending().await
            }),
    );
    poll(running.as_mut());
    drop(running);

    let entries = reported.recv_timeout(LONG).unwrap();
    let entries: Vec<_> = entries.iter().map(|(n, s)| (n.as_str(), *s)).collect();
    assert_eq!(
        entries,
        [
            ("panics at once", "runtime_gone"),
            ("panics", "runtime_gone"),
            ("fails", "runtime_gone"),
            ("hangs", "runtime_gone"),
            ("well", "ran"),
        ]
    );
}

#[test]
fn a_limit_that_began_on_a_dead_runtime_holds_on_the_fallback_thread() {
    let (report, reported) = mpsc::channel();
    let runtime = single();
    let entered = runtime.enter();
    let mut running = Box::pin(
        scope("hangs")
            .cleanup_limit(SHORT)
            .on_report(move |r| report.send(r.to_string()).unwrap())
            .run(async |s| {
                s.defer("next", || ());
                s.defer_async("hangs", std::future::pending::<()>);
                Ok(())
            }),
    );
    poll(running.as_mut());
    drop(entered);

    drop(runtime);
    drop(running);

    let report = received(&reported);
    assert!(
        report.contains("runtime gone: did not end within 30ms"),
        "{report}"
    );
    assert!(report.contains("next                 ran"), "{report}");
}

#[test]
fn a_wait_for_children_that_began_on_a_dead_runtime_goes_on_on_the_fallback_thread() {
    let (report, reported) = mpsc::channel();
    let elsewhere = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (release, released) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    let runtime = single();
    let entered = runtime.enter();
    let mut running = Box::pin(
        scope("deaf child")
            .timeout(LONG)
            .cleanup_limit(SHORT)
            .on_report(move |r| report.send(r.to_string()).unwrap())
            .run::<(), _, _>(async |s| {
                s.defer("next", || ());
                let elsewhere = elsewhere.enter();
                s.spawn("deaf", async move {
                    begin.send(()).unwrap();
                    let _ = released.recv();
                });
                drop(elsewhere);
                begun.recv().unwrap();
                Err("failed".into())
            }),
    );
    poll(running.as_mut());
    drop(entered);

    drop(runtime);
    drop(running);

    let report = received(&reported);
    assert!(report.contains("1 children still running"), "{report}");
    assert!(report.contains("next                 ran"), "{report}");
    release.send(()).unwrap();
}

#[test]
fn a_scope_of_a_spawned_task_that_dies_with_its_runtime_is_cleaned_up() {
    let log = Log::default();
    let runtime = single();
    let say = log.saying("cleaned up");
    runtime.block_on(async {
        drop(spawn("task", async move {
            let _ = scope("in the task")
                .run::<(), _, _>(async move |s| {
                    s.spawn("child", std::future::pending::<()>());
                    s.defer_async("async", async move || {
                        assert_eq!(context::scope_path().to_string(), "task > in the task");
                        clock::sleep(Duration::from_millis(1)).await;
                        say();
                    });
                    std::future::pending().await
                })
                .await;
        }));
        tokio::task::yield_now().await;
    });

    drop(runtime);

    log.expect(&["cleaned up"]);
}

fn received(reported: &Receiver<String>) -> String {
    reported
        .recv_timeout(LONG)
        .expect("the report comes in every case")
}
