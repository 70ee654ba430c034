//! Async scopes that run to their end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::{
    BoxError, Cancel, Cause, Outcome, Scope, ScopeError, TaskError, Verdict, clock, context,
    reaper, scope,
};

use crate::support::{Bomb, Events, Log, Reports};

const SECOND: Duration = Duration::from_secs(1);

/// Gives a handle that has outlived its scope, which had a limit of a second.
async fn handle_of_ended() -> Scope<(), BoxError> {
    let mut kept = None;
    scope("over")
        .cleanup_limit(SECOND)
        .run(async |s| {
            kept = Some(s);
            Ok(())
        })
        .await
        .unwrap();
    kept.unwrap()
}

#[tokio::test(start_paused = true)]
async fn sync_and_async_cleanups_run_last_in_first_out() {
    let log = Log::default();

    let ended = scope("demo")
        .run(async |s| {
            for name in ["a", "b"] {
                s.defer(name, log.saying(name));
            }
            let c = log.saying("c");
            s.defer_async("c", async move || {
                clock::sleep(SECOND).await;
                c();
            });
            let d = log.clone();
            let mut owned = s.own("d", 7, async move |value| d.say(format!("d {value}")));
            if *owned == 8 {
                s.defer("not taken", log.saying("not taken"));
            }
            *owned += 1;
            s.defer("e", log.saying("e"));
            Ok(*owned)
        })
        .await;

    assert_eq!(ended.unwrap(), 8);
    log.expect(&["e", "d 8", "c", "b", "a"]);
}

#[tokio::test]
async fn cleanups_run_on_return_on_error_and_on_panic() {
    for exit in ["ok", "err", "panicked"] {
        let log = Log::default();
        let reports = Reports::default();

        let ended = scope("exit")
            .on_report(reports.keep())
            .run(async |s| {
                s.defer("sync", log.saying("sync"));
                let say = log.saying("async");
                s.defer_async("async", async move || say());
                match exit {
                    "err" => return Err("err".into()),
                    "panicked" => panic!("body"),
                    _ => {}
                }
                s.defer("after", log.saying("after"));
                Ok(())
            })
            .await;

        let verdict = ended.map_or_else(|e| e.verdict(), |()| Verdict::Ok);
        assert_eq!(verdict.as_str(), exit);
        let after: &[_] = if exit == "ok" { &["after"] } else { &[] };
        log.expect(&[after, &["async", "sync"]].concat());
        assert_eq!(reports.only().verdict, exit);
    }
}

#[tokio::test(start_paused = true)]
async fn cleanups_that_panic_fail_or_hang_skip_none_of_the_others() {
    let log = Log::default();
    let reports = Reports::default();
    let start = clock::now();

    let ended = scope("troubles")
        .cleanup_limit(2 * SECOND)
        .on_report(reports.keep())
        .run(async |s| {
            s.defer("first", log.saying("first"));
            s.defer("panics", || panic!("sync"));
            s.defer("fails", || Err::<(), _>("sync"));
            s.defer_async("panics at once", || -> std::future::Ready<()> {
                panic!("call")
            });
            s.defer_async("panics later", async || {
                tokio::task::yield_now().await;
                panic!("await")
            });
            s.defer_async("fails later", async || Err::<(), _>("await"));
            s.defer_async("hangs", std::future::pending::<()>);
            s.defer("last", log.saying("last"));
            Ok(())
        })
        .await;

    log.expect(&["last", "first"]);
    assert_eq!(clock::now() - start, 2 * SECOND);
    reports.only().expect(&[
        ("last", "ran"),
        ("hangs", "timed_out"),
        ("fails later", "failed"),
        ("panics later", "panicked"),
        ("panics at once", "panicked"),
        ("fails", "failed"),
        ("panics", "panicked"),
        ("first", "ran"),
    ]);
    let error = ended.unwrap_err();
    let panic = error.panic().unwrap();
    let older: Vec<_> = panic.superseded().iter().map(|p| p.message()).collect();
    assert_eq!((panic.message(), older), ("sync", vec!["await", "call"]));
}

#[tokio::test]
async fn two_panicking_cleanups_leave_the_newest_with_the_older_attached() {
    let ended = scope("twice")
        .run::<(), _, _>(async |s| {
            s.defer("one", || panic!("first registered"));
            s.defer("two", || panic!("last registered"));
            panic!("body");
        })
        .await;

    let error = ended.unwrap_err();
    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), "first registered");
    let older: Vec<_> = panic.superseded().iter().map(|p| p.message()).collect();
    assert_eq!(older, ["body", "last registered"]);
    assert_eq!(panic.scope_path().to_string(), "twice");
}

#[tokio::test]
async fn a_body_that_panics_before_its_future_exists_is_contained() {
    type Body = std::future::Ready<Result<(), BoxError>>;
    let log = Log::default();

    let ended = scope("call")
        .run(|s| -> Body {
            s.defer("cleanup", log.saying("cleanup"));
            panic!("in the call")
        })
        .await;

    assert_eq!(ended.unwrap_err().panic().unwrap().message(), "in the call");
    log.expect(&["cleanup"]);
}

#[tokio::test]
async fn a_body_whose_future_panics_when_it_is_dropped_is_contained() {
    let ended = scope("drop")
        .run(async |_| {
            let _bomb = Bomb("dropped at the end");
            Ok(())
        })
        .await;

    assert_eq!(
        ended.unwrap_err().panic().unwrap().message(),
        "dropped at the end"
    );
}

#[tokio::test]
async fn a_body_may_borrow_from_its_caller() {
    let mut numbers = vec![1, 2];

    scope("borrow")
        .run(async |_| {
            numbers.push(3);
            Ok(())
        })
        .await
        .unwrap();

    assert_eq!(numbers, [1, 2, 3]);
}

#[tokio::test]
async fn a_cleanup_may_register_another_which_runs_next() {
    let log = Log::default();

    scope("register")
        .run(async |s| {
            s.defer("first", log.saying("first"));
            let (handle, inner) = (s.clone(), log.saying("inner"));
            s.defer("sync", move || {
                handle.defer("inner", inner);
            });
            let (handle, inner) = (s.clone(), log.saying("inner async"));
            s.defer_async("async", async move || {
                tokio::task::yield_now().await;
                handle.defer_async("inner async", async move || inner());
            });
            Ok(())
        })
        .await
        .unwrap();

    log.expect(&["inner async", "inner", "first"]);
}

#[tokio::test(start_paused = true)]
async fn a_registration_after_the_end_runs_at_once_and_is_reported() {
    let log = Log::default();
    let events = Events::default();
    let _listening = events.listen();
    let kept = handle_of_ended().await;

    kept.defer("late", log.saying("late"));
    log.expect(&["late"]);
    let say = log.saying("late async");
    kept.defer_async("late async", async move || {
        clock::sleep(SECOND).await;
        say();
    });
    let owned = kept.own("late own", 1, {
        let log = log.clone();
        async move |_| log.say("late own")
    });
    drop(owned);
    reaper::drain().await;

    log.expect(&["late", "late own", "late async"]);
    let late =
        events.with_message("cleanup was registered after the end of its scope and runs at once");
    let names: Vec<_> = late.iter().map(|event| event.field("cleanup")).collect();
    assert_eq!(names, ["late", "late async", "late own"]);
}

#[tokio::test(start_paused = true)]
async fn a_late_cleanup_that_fails_panics_or_hangs_says_so_with_its_scope() {
    let events = Events::default();
    let _listening = events.listen();
    let kept = handle_of_ended().await;

    kept.defer("sync", || Err::<(), _>("sync failure"));
    kept.defer("panics", || panic!("late panic"));
    kept.defer_async("async", async || {
        assert_eq!(context::scope_path().to_string(), "over");
        assert!(context::current().trace_id().is_some());
        Err::<(), _>("async failure")
    });
    kept.defer_async("hangs", std::future::pending::<()>);
    reaper::drain().await;

    let troubles = events.with_message("a cleanup did not end well");
    let mut told: Vec<_> = troubles
        .iter()
        .map(|event| {
            (
                event.field("cleanup"),
                event.field("status"),
                event.field("scope"),
            )
        })
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("async", "failed", "over"),
            ("hangs", "timed_out", "over"),
            ("panics", "panicked", "over"),
            ("sync", "failed", "over"),
        ]
    );
    let limit = troubles
        .iter()
        .find(|event| event.field("cleanup") == "hangs");
    assert!(limit.unwrap().field("reason").contains("1s"), "{limit:?}");
}

#[tokio::test(start_paused = true)]
async fn an_early_run_has_the_limit_of_its_scope_and_the_context_of_a_cleanup() {
    scope("early")
        .timeout(60 * SECOND)
        .cleanup_limit(2 * SECOND)
        .run(async |s| {
            let start = clock::now();
            let hangs = s.defer_async("hangs", async || {
                assert_eq!(context::scope_path().to_string(), "early");
                assert_eq!(context::current().time_left(), Some(2 * SECOND));
                std::future::pending::<()>().await;
            });
            let status = hangs.run().await.unwrap();
            assert_eq!(status.as_str(), "timed_out");
            assert_eq!(clock::now() - start, 2 * SECOND);
            let gone = s.defer_async("sync", async || ());
            assert!(gone.disarm());
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_early_run_that_is_dropped_goes_on_before_the_end_and_tells_its_trouble() {
    let log = Log::default();
    let events = Events::default();
    let _listening = events.listen();

    scope("early")
        .run(async |s| {
            s.defer("outer", log.saying("outer"));
            let say = log.saying("early");
            let early = s.defer_async("early", async move || {
                clock::sleep(2 * SECOND).await;
                say();
                Err::<(), _>("failed at last")
            });
            assert!(clock::timeout(SECOND, early.run()).await.is_err());
            log.say("body");
            Ok(())
        })
        .await
        .unwrap();

    log.expect(&["body", "early", "outer"]);
    let troubles = events.with_message("a cleanup did not end well");
    assert_eq!(troubles.len(), 1, "{troubles:?}");
    assert_eq!(troubles[0].field("cleanup"), "early");
    assert_eq!(troubles[0].field("reason"), "failed: failed at last");
}

#[tokio::test]
async fn an_owned_value_can_be_disarmed() {
    let log = Log::default();
    let reports = Reports::default();

    let value = scope("disarm")
        .on_report(reports.keep())
        .run(async |s| {
            let say = log.saying("cleaned up");
            let owned = s.own("own", String::from("kept"), async move |_| say());
            Ok(owned.disarm())
        })
        .await;

    assert_eq!(value.unwrap(), "kept");
    log.expect(&[]);
    reports.only().expect(&[]);
}

#[tokio::test(start_paused = true)]
async fn a_guard_held_elsewhere_is_reported_as_missing_and_cleaned_up_once_it_is_dropped() {
    let log = Log::default();
    let reports = Reports::default();

    let guard = scope("moved out")
        .on_report(reports.keep())
        .run(async |s| {
            let cleanup = log.clone();
            Ok(s.own("own", 5, async move |value| {
                cleanup.say(format!("cleaned up {value}"))
            }))
        })
        .await
        .unwrap();
    reports.only().expect(&[("own", "missing")]);
    log.expect(&[]);

    assert_eq!(*guard, 5);
    drop(guard);
    reaper::drain().await;
    log.expect(&["cleaned up 5"]);
}

#[tokio::test(start_paused = true)]
async fn a_guard_held_elsewhere_can_still_be_disarmed_after_the_end() {
    let log = Log::default();

    let guard = scope("moved out")
        .run(async |s| {
            let say = log.saying("cleaned up");
            Ok(s.own("own", 5, async move |_| say()))
        })
        .await
        .unwrap();
    assert_eq!(guard.disarm(), 5);
    reaper::drain().await;

    log.expect(&[]);
}

#[tokio::test(start_paused = true)]
async fn the_late_cleanup_of_a_guard_held_elsewhere_tells_its_trouble() {
    let events = Events::default();
    let _listening = events.listen();
    let guard = scope("moved out")
        .cleanup_limit(SECOND)
        .run(async |s| Ok(s.own("own", 5, async move |_| std::future::pending::<()>().await)))
        .await
        .unwrap();

    drop(guard);
    reaper::drain().await;

    let troubles = events.with_message("a cleanup did not end well");
    let told: Vec<_> = troubles
        .iter()
        .map(|e| (e.field("status"), e.field("scope")))
        .collect();
    assert_eq!(told, [("missing", "moved out"), ("timed_out", "moved out")]);
}

#[tokio::test]
async fn a_leaked_guard_is_reported_as_missing() {
    let reports = Reports::default();

    let ended = scope("leak")
        .on_report(reports.keep())
        .run(async |s| {
            std::mem::forget(s.own("leaked", 5, async |_| ()));
            Ok(())
        })
        .await;

    assert!(ended.is_ok());
    reports.only().expect(&[("leaked", "missing")]);
}

#[tokio::test]
async fn all_that_a_scope_was_given_is_released_at_its_end() {
    for exit in ["ok", "err", "panic", "hang"] {
        let live = Arc::new(());
        let held: [_; 4] = std::array::from_fn(|_| live.clone());
        let cancel = Cancel::new();
        cancel.cancel(Cause::Shed);

        let ended = scope("release")
            .cancel_on(&cancel)
            .run(async |s| {
                let [a, b, c, d] = held;
                s.defer("sync", move || drop(a));
                s.defer_async("async", async move || drop(b));
                let _owned = s.own("own", c, async |c| drop(c));
                let knows_its_scope = s.clone();
                s.defer_outcome("outcome", move |_| drop((d, knows_its_scope)));
                match exit {
                    "ok" => Ok(live.clone()),
                    "err" => Err("err".into()),
                    "panic" => panic!("panic"),
                    _ => std::future::pending().await,
                }
            })
            .await;

        drop(ended);
        assert_eq!(Arc::strong_count(&live), 1, "{exit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_without_end_is_no_limit() {
    let log = Log::default();

    scope("patient")
        .cleanup_limit(Duration::MAX)
        .timeout(Duration::MAX)
        .run(async |s| {
            s.spawn("child", clock::sleep(SECOND));
            let say = log.saying("slow");
            s.defer_async("slow", async move || {
                clock::sleep(3600 * SECOND).await;
                say();
            });
            Ok(())
        })
        .await
        .unwrap();

    log.expect(&["slow"]);
}

#[tokio::test(start_paused = true)]
async fn each_cleanup_has_the_deadline_of_its_own_limit() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let look = |name: &'static str| {
        let seen = seen.clone();
        move || {
            seen.lock()
                .unwrap()
                .push((name, context::current().time_left()))
        }
    };

    scope("deadlines")
        .timeout(9 * SECOND)
        .cleanup_limit(2 * SECOND)
        .run(async |s| {
            s.defer("sync after", look("sync after"));
            let now = look("second");
            s.defer_async("second", async move || now());
            let now = look("first");
            s.defer_async("first", async move || {
                now();
                clock::sleep(SECOND).await;
            });
            s.defer("sync before", look("sync before"));
            look("body")();
            Ok(())
        })
        .await
        .unwrap();

    let seen = seen.lock().unwrap();
    assert_eq!(
        *seen,
        [
            ("body", Some(9 * SECOND)),
            ("sync before", None),
            ("first", Some(2 * SECOND)),
            ("second", Some(2 * SECOND)),
            ("sync after", None),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn cleanups_are_not_part_of_the_timeout() {
    let log = Log::default();

    let ended = scope("slow cleanup")
        .timeout(SECOND)
        .run(async |s| {
            let say = log.saying("cleaned up");
            s.defer_async("slow", async move || {
                clock::sleep(3 * SECOND).await;
                say();
            });
            Ok(1)
        })
        .await;

    assert_eq!(ended.unwrap(), 1);
    log.expect(&["cleaned up"]);
}

#[tokio::test(start_paused = true)]
async fn the_work_of_a_cleanup_is_not_cancelled_with_its_scope() {
    let log = Log::default();
    let say = log.saying("rolled back");

    let ended = scope("outer")
        .run::<(), _, _>(async |s| {
            s.token();
            s.defer_async("roll back", async move || {
                assert!(!context::cancel().is_cancelled());
                let inner = scope("roll back")
                    .run(async |inner| {
                        let child = inner.spawn("part", async {
                            assert!(!context::cancel().is_cancelled());
                            clock::sleep(SECOND).await;
                            4
                        });
                        Ok(child.await?)
                    })
                    .await;
                assert_eq!(inner.unwrap(), 4);
                say();
            });
            Err("failed".into())
        })
        .await;

    assert!(ended.unwrap_err().failed().is_some());
    log.expect(&["rolled back"]);
}

// === children ===

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

#[tokio::test(start_paused = true)]
async fn a_timeout_cancels_body_and_children_with_its_cause() {
    let ended = scope("slow")
        .timeout(Duration::from_secs(5))
        .run(async |s| {
            s.spawn("child", std::future::pending::<()>());
            Ok(())
        })
        .await;

    assert!(matches!(ended, Err(ScopeError::Cancelled(Cause::Timeout(t))) if t.as_secs() == 5));
}

#[tokio::test(start_paused = true)]
async fn children_learn_why_they_are_cancelled() {
    type Case = (&'static str, Option<Duration>, fn(&Cause) -> bool);
    let cases: [Case; 3] = [
        (
            "timeout",
            Some(SECOND),
            |c| matches!(c, Cause::Timeout(t) if *t == SECOND),
        ),
        ("err", None, |c| matches!(c, Cause::ScopeEnded)),
        ("asked", None, |c| matches!(c, Cause::LeaseLost)),
    ];
    for (exit, timeout, expected) in cases {
        let joined = Arc::new(Mutex::new(None));
        let mut builder = scope("family");
        if let Some(timeout) = timeout {
            builder = builder.timeout(timeout);
        }
        let keep = joined.clone();
        let _ = builder
            .run::<(), _, _>(async |s| {
                let token = s.token();
                let child = s.spawn("child", std::future::pending::<()>());
                steadfast_core::spawn("joiner", async move {
                    *keep.lock().unwrap() = Some((child.await, token.cancelled().await));
                });
                match exit {
                    "err" => return Err("err".into()),
                    "asked" => assert!(s.cancel(Cause::LeaseLost)),
                    _ => {}
                }
                std::future::pending().await
            })
            .await;
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;

        let joined = joined.lock().unwrap().take().unwrap();
        let (Err(TaskError::Cancelled(child)), token) = joined else {
            panic!("{joined:?}")
        };
        assert!(expected(&child), "{exit}: {child:?}");
        assert!(expected(&token), "{exit}: {token:?}");
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

#[tokio::test]
async fn a_tokens_first_cause_ends_the_scope() {
    let cancel = Cancel::new();

    let ended = scope("asked")
        .cancel_on(&cancel)
        .run::<(), _, _>(async |s| {
            assert!(s.cancel(Cause::LeaseLost));
            assert!(!s.cancel(Cause::Shutdown));
            cancel.cancel(Cause::Shed);
            std::future::pending().await
        })
        .await;

    assert!(matches!(ended.unwrap_err().cause(), Some(Cause::LeaseLost)));
}

#[tokio::test]
async fn a_token_made_late_by_somebody_else_still_cancels() {
    let (hand_over, handed) = tokio::sync::oneshot::channel();
    let running = steadfast_core::spawn("scope", async move {
        scope("late token")
            .run::<(), _, _>(async |s| {
                let _ = hand_over.send(s.clone());
                std::future::pending().await
            })
            .await
    });
    let handle = handed.await.unwrap();

    std::thread::spawn(move || assert!(handle.cancel(Cause::Shed)))
        .join()
        .unwrap();

    let ended = running.await.unwrap();
    assert!(matches!(ended.unwrap_err().cause(), Some(Cause::Shed)));
}

#[tokio::test(start_paused = true)]
async fn the_outer_scope_cancels_what_runs_inside_of_inner_ones() {
    let log = Log::default();
    let reports = Reports::default();

    let ended = scope("outer")
        .timeout(SECOND)
        .run::<(), _, _>(async |outer| {
            outer.defer("outer", log.saying("outer"));
            scope("inner")
                .on_report(reports.keep())
                .run(async |inner| {
                    inner.defer("inner", log.saying("inner"));
                    std::future::pending().await
                })
                .await
                .map_err(ScopeError::into_error)
        })
        .await;

    assert!(ended.unwrap_err().cause().unwrap().is_timeout());
    log.expect(&["inner", "outer"]);
    let inner = reports.only();
    assert_eq!((inner.verdict, inner.reaped), ("cancelled", true));
}

#[tokio::test(start_paused = true)]
async fn the_earlier_of_timeout_and_deadline_gives_the_cause() {
    let deadline = clock::now() + 3 * SECOND;

    let first = scope("timeout first")
        .timeout(SECOND)
        .deadline(deadline)
        .run::<(), _, _>(async |_| std::future::pending().await)
        .await;
    let second = scope("deadline first")
        .timeout(9 * SECOND)
        .deadline(deadline)
        .run::<(), _, _>(async |_| std::future::pending().await)
        .await;

    assert!(matches!(first.unwrap_err().cause(), Some(Cause::Timeout(t)) if *t == SECOND));
    assert!(matches!(second.unwrap_err().cause(), Some(Cause::Deadline)));
    assert_eq!(clock::now(), deadline);
}

#[tokio::test(start_paused = true)]
async fn the_time_counts_from_the_first_poll() {
    let waiting = scope("later").timeout(SECOND).run(async |_| {
        clock::sleep(SECOND / 2).await;
        Ok(())
    });
    clock::sleep(9 * SECOND).await;

    assert!(waiting.await.is_ok());
}

#[tokio::test]
async fn an_outcome_that_was_cancelled_is_told_to_its_cleanups() {
    let seen = Arc::new(Mutex::new(None));
    let keep = seen.clone();

    let _ = scope("asked")
        .run::<(), _, _>(async |s| {
            s.defer_outcome("look", move |outcome| {
                if let Outcome::Cancelled(cause) = outcome {
                    *keep.lock().unwrap() = Some(cause.as_str());
                }
            });
            s.cancel(Cause::Shutdown);
            std::future::pending().await
        })
        .await;

    assert_eq!(*seen.lock().unwrap(), Some("shutdown"));
}
