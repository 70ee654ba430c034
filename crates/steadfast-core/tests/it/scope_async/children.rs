//! Children of a scope.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use steadfast_core::{Cause, ScopeError, TaskError, clock, context, scope};

use crate::support::{Log, Reports};

use super::{SECOND, handle_of_ended};

#[tokio::test(start_paused = true)]
async fn children_of_a_good_body_are_joined_before_the_cleanups_run() {
    let log = Log::default();

    scope("family")
        .run(async |s| {
            s.defer("cleanup", log.saying("cleanup"));
            let say = log.saying("child");
            s.spawn("child", async move {
                clock::sleep(9 * SECOND).await;
                say();
            });
            log.say("body");
            Ok(())
        })
        .await
        .unwrap();

    log.expect(&["body", "child", "cleanup"]);
}

#[tokio::test(start_paused = true)]
async fn children_are_cancelled_before_the_cleanups_on_error_panic_and_cancellation() {
    struct Says(Option<Box<dyn FnOnce() + Send>>);
    impl Drop for Says {
        fn drop(&mut self) {
            self.0.take().unwrap()();
        }
    }

    for exit in ["err", "panicked", "cancelled"] {
        let log = Log::default();
        let ended = scope("family")
            .timeout(SECOND)
            .run::<(), _, _>(async |s| {
                s.defer("cleanup", log.saying("cleanup"));
                let says = Says(Some(Box::new(log.saying("child dropped"))));
                s.spawn("child", async move {
                    let _says = says;
                    std::future::pending::<()>().await;
                });
                tokio::task::yield_now().await;
                match exit {
                    "err" => Err("err".into()),
                    "panicked" => panic!("body"),
                    _ => std::future::pending().await,
                }
            })
            .await;

        assert_eq!(ended.unwrap_err().verdict().as_str(), exit);
        log.expect(&["child dropped", "cleanup"]);
    }
}

#[tokio::test]
async fn a_childs_panic_reaches_whoever_joins_it_and_nobody_else() {
    let ended = scope("family")
        .run(async |s| {
            s.spawn("unjoined", async { panic!("nobody asks") });
            let child = s.spawn("joined", async { panic!("asked") });
            let error = child.await.unwrap_err();
            let panic = error.panic().unwrap();
            assert_eq!(panic.message(), "asked");
            assert_eq!(panic.scope_path().to_string(), "family > joined");
            Ok(1)
        })
        .await;

    assert_eq!(ended.unwrap(), 1);
}

#[tokio::test]
async fn a_child_started_after_the_end_is_cancelled_before_its_first_poll() {
    let polled = Arc::new(AtomicBool::new(false));
    let kept = handle_of_ended().await;

    let flag = polled.clone();
    let child = kept.spawn("late", async move { flag.store(true, Ordering::Relaxed) });

    assert!(matches!(
        child.await,
        Err(TaskError::Cancelled(Cause::ScopeEnded))
    ));
    assert!(!polled.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_child_started_by_a_cleanup_is_joined_before_the_next_one() {
    for name in ["sync", "async"] {
        let log = Log::default();
        scope("late child")
            .run(async |s| {
                s.defer("last", log.saying("last"));
                let (handle, say) = (s.clone(), log.saying("child"));
                let child = async move {
                    clock::sleep(SECOND).await;
                    say();
                };
                if name == "sync" {
                    s.defer("starts", move || drop(handle.spawn("child", child)));
                } else {
                    s.defer_async("starts", async move || drop(handle.spawn("child", child)));
                }
                Ok(())
            })
            .await
            .unwrap();

        log.expect(&["child", "last"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_started_by_a_cleanup_has_the_limit_of_a_cleanup() {
    let log = Log::default();
    let start = clock::now();

    scope("late child")
        .cleanup_limit(2 * SECOND)
        .run(async |s| {
            s.defer("last", log.saying("last"));
            let handle = s.clone();
            s.defer("starts", move || {
                drop(handle.spawn("child", std::future::pending::<()>()));
            });
            Ok(())
        })
        .await
        .unwrap();

    log.expect(&["last"]);
    assert_eq!(clock::now() - start, 2 * SECOND);
}

#[test]
fn a_child_that_ignores_its_cancellation_is_left_running_and_counted() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (started, has_started) = tokio::sync::oneshot::channel();
    let log = Log::default();
    let reports = Reports::default();

    let ended = runtime.block_on(
        scope("deaf child")
            .cleanup_limit(Duration::from_millis(20))
            .on_report(reports.keep())
            .run::<(), _, _>(async |s| {
                s.defer("second", log.saying("second"));
                s.defer("first", log.saying("first"));
                s.spawn("deaf", async move {
                    started.send(()).unwrap();
                    // Holds its thread until the scope has ended, which must not wait for that.
                    let _ = released.recv();
                });
                has_started.await.unwrap();
                Err("failed".into())
            }),
    );
    release.send(()).unwrap();

    assert!(ended.unwrap_err().failed().is_some());
    log.expect(&["first", "second"]);
    let report = reports.only();
    assert_eq!(report.children_left, 1);
    assert!(
        report.text.contains("1 children still running"),
        "{}",
        report.text
    );
}

#[tokio::test(start_paused = true)]
async fn a_child_may_start_another_in_the_same_scope() {
    let log = Log::default();

    scope("family")
        .run(async |s| {
            s.defer("cleanup", log.saying("cleanup"));
            let (handle, say) = (s.clone(), log.saying("grandchild"));
            s.spawn("child", async move {
                clock::sleep(SECOND).await;
                handle.spawn("grandchild", async move {
                    assert_eq!(context::scope_path().to_string(), "family > grandchild");
                    clock::sleep(SECOND).await;
                    say();
                });
            });
            Ok(())
        })
        .await
        .unwrap();

    log.expect(&["grandchild", "cleanup"]);
}

#[tokio::test(start_paused = true)]
async fn a_child_of_the_outer_scope_that_was_started_in_an_inner_one_outlives_the_inner() {
    let ended = scope("outer")
        .run(async |outer| {
            let child = scope("inner")
                .timeout(SECOND)
                .run(async |_| {
                    Ok(outer.spawn("child", async {
                        clock::sleep(9 * SECOND).await;
                        let left = context::current().time_left();
                        (
                            context::cancel().is_cancelled(),
                            left,
                            context::scope_path().to_string(),
                        )
                    }))
                })
                .await
                .map_err(ScopeError::into_error)?;
            Ok(child.await?)
        })
        .await;

    assert_eq!(ended.unwrap(), (false, None, "outer > child".to_owned()));
}
