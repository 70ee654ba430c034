//! Cleanups that run early, late, elsewhere, or never.

use std::sync::Arc;

use steadfast_core::{Cancel, Cause, clock, context, reaper, scope};

use crate::support::{Events, Log, Reports};

use super::{SECOND, handle_of_ended};

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
