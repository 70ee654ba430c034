//! Why a scope ended.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::{Cancel, Cause, Outcome, ScopeError, TaskError, clock, scope};

use crate::support::{Log, Reports};

use super::SECOND;

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
