//! Order across scopes inside each other, and where what belongs.

use std::time::Duration;

use steadfast_core::{BoxError, Cause, ScopeError, clock, context, reaper, scope};

use crate::support::{Log, Reports};

const SECOND: Duration = Duration::from_secs(1);

/// Drops an inner scope with a slow cleanup.
async fn drop_inner(name: &'static str, log: &Log) {
    let say = log.saying(name);
    let inner = scope(name).run::<(), _, _>(async move |s| {
        s.defer_async("slow", async move || {
            clock::sleep(2 * SECOND).await;
            say();
        });
        std::future::pending().await
    });
    assert!(clock::timeout(SECOND, inner).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_outer_cleanup_never_overtakes_those_of_a_dropped_inner_scope() {
    let log = Log::default();

    scope("outer")
        .run(async |outer| {
            outer.defer("outer", log.saying("outer"));
            drop_inner("inner", &log).await;
            log.say("body goes on");
            Ok(())
        })
        .await
        .unwrap();

    log.expect(&["body goes on", "inner", "outer"]);
}

#[tokio::test(start_paused = true)]
async fn the_order_holds_when_all_levels_are_dropped_at_once() {
    let log = Log::default();

    let running = scope("outer").run::<(), _, _>(async |outer| {
        outer.defer("outer", log.saying("outer"));
        scope("middle")
            .run::<(), _, _>(async |middle| {
                middle.defer("middle", log.saying("middle"));
                drop_inner("first inner", &log).await;
                scope("inner")
                    .run(async |inner| {
                        let say = log.saying("inner");
                        inner.defer_async("inner", async move || {
                            clock::sleep(5 * SECOND).await;
                            say();
                        });
                        std::future::pending().await
                    })
                    .await
                    .map_err(ScopeError::into_error)
            })
            .await
            .map_err(ScopeError::into_error)
    });
    assert!(clock::timeout(2 * SECOND, running).await.is_err());
    reaper::drain().await;

    log.expect(&["first inner", "inner", "middle", "outer"]);
}

#[tokio::test(start_paused = true)]
async fn the_order_holds_through_children_and_their_scopes() {
    let log = Log::default();

    let _ = scope("outer")
        .run::<(), _, _>(async |outer| {
            outer.defer("outer", log.saying("outer"));
            let log = log.clone();
            outer.spawn("child", async move {
                drop_inner("dropped by the child", &log).await;
                let say = log.saying("dropped with the child");
                let _ = scope("in the child")
                    .run::<(), _, _>(async move |s| {
                        s.defer_async("slow", async move || {
                            clock::sleep(3 * SECOND).await;
                            say();
                        });
                        std::future::pending().await
                    })
                    .await;
            });
            clock::sleep(2 * SECOND).await;
            Err("cancels the child".into())
        })
        .await;

    log.expect(&["dropped by the child", "dropped with the child", "outer"]);
}

#[tokio::test(start_paused = true)]
async fn a_scope_dropped_inside_of_a_cleanup_holds_up_the_next_cleanup() {
    let log = Log::default();

    scope("outer")
        .run(async |outer| {
            outer.defer("last", log.saying("last"));
            let log = log.clone();
            outer.defer_async("drops", async move || drop_inner("inner", &log).await);
            Ok(())
        })
        .await
        .unwrap();

    log.expect(&["inner", "last"]);
}

#[tokio::test(start_paused = true)]
async fn a_cleanup_that_exceeds_its_limit_hands_its_inner_scope_to_the_reaper_with_the_cause() {
    let log = Log::default();
    let reports = Reports::default();
    let keep = reports.keep();

    scope("outer")
        .cleanup_limit(2 * SECOND)
        .run(async |outer| {
            outer.defer("last", log.saying("last"));
            let say = log.clone();
            outer.defer_async("hangs", async move || {
                let _ = scope("inner")
                    .on_report(keep)
                    .run::<(), _, _>(async move |s| {
                        s.defer_outcome("look", move |outcome| {
                            say.say(format!("{outcome:?}"));
                        });
                        std::future::pending().await
                    })
                    .await;
            });
            Ok(())
        })
        .await
        .unwrap();

    log.expect(&["Cancelled(Timeout(2s))", "last"]);
    assert_eq!(reports.only().path, "outer > inner");
}

#[tokio::test(start_paused = true)]
async fn a_sync_scope_between_two_async_ones_does_not_hide_the_inner_from_the_outer() {
    let log = Log::default();

    scope("outer")
        .run(async |outer| {
            outer.defer("outer", log.saying("outer"));
            let mut inner = Box::pin(drop_inner("inner", &log));
            scope("middle").run_sync(|_| {
                let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                assert!(inner.as_mut().poll(&mut cx).is_pending());
                Ok::<_, BoxError>(())
            })?;
            drop(inner);
            Ok(())
        })
        .await
        .unwrap();

    log.expect(&["inner", "outer"]);
}

#[tokio::test(start_paused = true)]
async fn facts_that_change_in_a_loop_are_no_depth() {
    fn dive(depth: usize, log: Log) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            context::put("depth", &depth.to_string()).unwrap();
            if depth == 60 {
                drop_inner("innermost", &log).await;
                return;
            }
            let end = log.saying(if depth == 0 { "outermost" } else { "level" });
            scope("level")
                .run(async move |s| {
                    if depth == 0 {
                        s.defer("end", end);
                    }
                    dive(depth + 1, log).await;
                    Ok(())
                })
                .await
                .unwrap();
        })
    }
    let log = Log::default();

    dive(0, log.clone()).await;

    log.expect(&["innermost", "outermost"]);
}

#[tokio::test(start_paused = true)]
async fn an_inner_error_and_an_inner_panic_reach_the_outer_scope_as_values() {
    let failed = scope("outer")
        .run::<(), _, _>(async |_| {
            let inner = scope("inner")
                .run::<(), _, _>(async |_| Err("inner failed".into()))
                .await;
            inner.map_err(ScopeError::into_error)
        })
        .await;
    assert_eq!(failed.unwrap_err().to_string(), "inner failed");

    let panicked = scope("outer")
        .run::<(), _, _>(async |_| {
            let inner = scope("inner")
                .run::<(), _, _>(async |_| panic!("inner"))
                .await;
            match inner {
                Err(ScopeError::Panicked(panic)) => panic.resume(),
                _ => Ok(()),
            }
        })
        .await;
    let error = panicked.unwrap_err();
    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), "inner");
    assert_eq!(panic.scope_path().to_string(), "outer > inner");
}

#[tokio::test(start_paused = true)]
async fn cancelling_the_outer_scope_reaches_children_of_inner_ones() {
    let ended = scope("outer")
        .run::<(), _, _>(async |outer| {
            let outer_token = outer.clone();
            scope("inner")
                .run(async |inner| {
                    let child = inner.spawn("child", async {
                        let cause = context::cancel().cancelled().await;
                        cause.as_str()
                    });
                    tokio::task::yield_now().await;
                    outer_token.cancel(Cause::LeaseLost);
                    let _ = child.await;
                    std::future::pending().await
                })
                .await
                .map_err(ScopeError::into_error)
        })
        .await;

    assert!(matches!(ended.unwrap_err().cause(), Some(Cause::LeaseLost)));
}
