//! The events of a scope: one at its end, over all its exits.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::context::TraceId;
use steadfast_core::pool::{Pool, PoolConfig};
use steadfast_core::{
    BoxError, Cause, Context, Outcome, TaskError, clock, context, reaper, scope, spawn,
};
use tracing::Level;

use crate::support::{Event, Events, Log, Reports};

const SECOND: Duration = Duration::from_secs(1);

fn context_of(keep: &Arc<Mutex<Context>>) {
    *keep.lock().unwrap() = context::current();
}

/// Checks the only end event there is against the context of the body.
#[track_caller]
fn check(events: &Events, outcome: &str, level: Level, seconds: &str, body: Context) -> Event {
    let ends = events.with_message("scope ended");
    assert_eq!(ends.len(), 1, "{ends:?}");
    let end = ends[0].clone();
    assert_eq!(end.target, "steadfast::scope");
    assert_eq!((end.field("outcome"), end.level), (outcome, level));
    assert_eq!(end.field("scope"), "order");
    if !seconds.is_empty() {
        assert_eq!(end.field("duration_s"), seconds);
    }
    assert!(end.fields.contains_key("duration_s"));
    assert_eq!(end.field("trace_id"), body.trace_id().unwrap().to_string());
    assert_eq!(end.field("span_id"), body.span_id().unwrap().to_string());
    assert_eq!(end.spans, ["order"]);
    end
}

#[tokio::test(start_paused = true)]
async fn an_async_scope_tells_its_end_once_in_every_way_out() {
    let cases = [
        ("ok", Level::INFO, "2.0"),
        ("err", Level::WARN, "2.0"),
        ("panicked", Level::ERROR, "2.0"),
        ("cancelled", Level::WARN, "4.0"),
        ("dropped", Level::WARN, "4.0"),
    ];
    for (exit, level, seconds) in cases {
        let events = Events::default();
        let _listening = events.listen();
        let body = Arc::new(Mutex::new(Context::new()));
        let keep = body.clone();
        let running = scope("order").timeout(3 * SECOND).run(async |s| {
            context_of(&keep);
            s.defer_async("slow", async || clock::sleep(SECOND).await);
            clock::sleep(SECOND).await;
            match exit {
                "err" => Err("err".into()),
                "panicked" => panic!("body"),
                "cancelled" | "dropped" => std::future::pending().await,
                _ => Ok(()),
            }
        });
        let limit = if exit == "dropped" { 3 } else { 60 };
        // The scope's own time is up at the same moment: whoever is first, it ends once.
        let _ = clock::timeout(
            limit * SECOND - Duration::from_nanos(u64::from(exit == "dropped")),
            running,
        )
        .await;
        reaper::drain().await;

        let verdict = if exit == "dropped" { "cancelled" } else { exit };
        let seconds = if exit == "dropped" { "" } else { seconds };
        let body = *body.lock().unwrap();
        let end = check(&events, verdict, level, seconds, body);
        assert_eq!(end.field("reaped"), (exit == "dropped").to_string());
        assert_eq!(end.field("cleanups"), "1");
    }
}

#[test]
fn a_sync_scope_tells_its_end_once_in_every_way_out() {
    for (exit, level) in [
        ("ok", Level::INFO),
        ("err", Level::WARN),
        ("panicked", Level::ERROR),
    ] {
        let events = Events::default();
        let _listening = events.listen();
        let body = Arc::new(Mutex::new(Context::new()));

        let _ = scope("order").run_sync(|s| {
            context_of(&body);
            s.defer("cleanup", || ());
            match exit {
                "err" => Err("err".into()),
                "panicked" => panic!("body"),
                _ => Ok::<_, BoxError>(()),
            }
        });

        let body = *body.lock().unwrap();
        check(&events, exit, level, "", body);
    }
}

#[test]
fn the_end_is_told_as_the_last_editor_left_it() {
    let events = Events::default();
    let _listening = events.listen();
    let body = Arc::new(Mutex::new(Context::new()));

    let _ = scope("order").run_sync::<(), _>(|s| {
        context_of(&body);
        s.defer_outcome("recover", |outcome| *outcome = Outcome::Ok(()));
        panic!("body")
    });

    let body = *body.lock().unwrap();
    check(&events, "ok", Level::INFO, "", body);
}

#[test]
fn the_start_is_told_at_debug_only() {
    let events = Events::default();
    let listening = events.listen_from(Level::INFO);
    scope("order").run_sync(|_| Ok::<_, BoxError>(())).unwrap();
    assert!(events.with_message("scope started").is_empty());
    drop(listening);

    let _listening = events.listen_from(Level::DEBUG);
    scope("order").run_sync(|_| Ok::<_, BoxError>(())).unwrap();
    assert_eq!(events.with_message("scope started").len(), 1);
}

#[tokio::test]
async fn those_who_listen_to_bad_news_only_hear_it_with_its_duration() {
    for (level, heard) in [
        (Level::WARN, ["err", "panicked"].as_slice()),
        (Level::ERROR, &["panicked"]),
    ] {
        let events = Events::default();
        let _listening = events.listen_from(level);

        for exit in ["ok", "err", "panicked"] {
            let _ = scope("order")
                .run(async |_| match exit {
                    "err" => Err("err".into()),
                    "panicked" => panic!("body"),
                    _ => Ok(()),
                })
                .await;
        }

        let ends = events.with_message("scope ended");
        let told: Vec<_> = ends.iter().map(|event| event.field("outcome")).collect();
        assert_eq!(told, heard, "{level}");
        assert!(
            ends.iter()
                .all(|event| event.fields.contains_key("duration_s"))
        );
    }
}

#[tokio::test]
async fn what_body_children_and_cleanups_log_is_in_the_span_of_the_scope() {
    let events = Events::default();
    let _listening = events.listen();

    scope("outer")
        .run(async |s| {
            tracing::info!("body");
            s.defer("sync", || tracing::info!("sync"));
            scope("inner")
                .run(async |inner| {
                    inner.defer("sync", || tracing::info!("inner sync"));
                    inner.defer_async("async", async || {
                        tokio::task::yield_now().await;
                        tracing::info!("inner async");
                    });
                    Ok::<_, BoxError>(())
                })
                .await
                .map_err(steadfast_core::ScopeError::into_error)
        })
        .await
        .unwrap();

    let spans = |message| events.with_message(message)[0].spans.clone();
    assert_eq!(spans("body"), ["outer"]);
    assert_eq!(spans("sync"), ["outer"]);
    assert_eq!(spans("inner sync"), ["outer", "inner"]);
    assert_eq!(spans("inner async"), ["outer", "inner"]);
    assert!(tracing::Span::current().is_none());
}

#[test]
fn a_cleanup_that_did_not_just_run_is_told_with_its_reason_and_place() {
    let events = Events::default();
    let _listening = events.listen();
    let trace_id = TraceId::random();

    Context::new().with_trace_id(trace_id).run(|| {
        let _ = scope("order").run_sync(|s| {
            s.defer("fine", || ());
            s.defer("fails", || Err::<(), _>("disk full"));
            Ok::<_, BoxError>(())
        });
    });

    let troubles = events.with_message("a cleanup did not end well");
    assert_eq!(troubles.len(), 1);
    let trouble = &troubles[0];
    assert_eq!(trouble.level, Level::WARN);
    assert_eq!(trouble.field("cleanup"), "fails");
    assert_eq!(trouble.field("reason"), "failed: disk full");
    assert!(trouble.field("place").contains("events.rs:"));
    assert!(trouble.fields.contains_key("duration_s"));
    assert_eq!(trouble.field("trace_id"), trace_id.to_string());
}

#[test]
fn without_a_listener_the_report_has_times_and_nobody_pays_otherwise() {
    let took = Arc::new(Mutex::new(None));
    let keep = took.clone();

    scope("order")
        .on_report(move |report| *keep.lock().unwrap() = report.entries[0].took)
        .run_sync(|s| {
            s.defer("cleanup", || ());
            Ok::<_, BoxError>(())
        })
        .unwrap();

    assert!(took.lock().unwrap().is_some());
}

/// Makes every event from INFO up a panic.
fn listen_and_panic() -> tracing::subscriber::DefaultGuard {
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
    struct Panics;
    impl<S: tracing::Subscriber> Layer<S> for Panics {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            assert!(*event.metadata().level() > Level::INFO, "in the subscriber");
        }
    }
    tracing::subscriber::set_default(tracing_subscriber::registry().with(Panics))
}

#[tokio::test]
async fn a_subscriber_that_panics_loses_no_late_cleanup_and_no_end_of_a_task() {
    let _listening = listen_and_panic();
    let log = Log::default();
    let mut kept = None;
    let ended = scope("order").run(async |s| {
        kept = Some(s);
        Ok::<_, BoxError>(())
    });
    ended.await.unwrap();

    kept.unwrap().defer("late", log.saying("late"));
    let task = spawn("aborted", std::future::pending::<()>());
    task.abort();
    let joined = task.await;

    log.expect(&["late"]);
    assert!(matches!(joined, Err(TaskError::Cancelled(_))), "{joined:?}");
}

#[tokio::test]
async fn a_subscriber_that_panics_changes_nothing_but_the_count_of_panics() {
    let _listening = listen_and_panic();
    let reports = Reports::default();

    let sync = scope("order").on_report(reports.keep()).run_sync(|s| {
        s.defer("fails", || Err::<(), _>("told to a subscriber that panics"));
        Ok::<_, BoxError>(1)
    });
    let ended = scope("order")
        .on_report(reports.keep())
        .run(async |s| {
            s.defer_async("fails", async || {
                Err::<(), _>("told to a subscriber that panics")
            });
            s.cancel(Cause::Shed);
            Ok(2)
        })
        .await;

    assert_eq!((sync.unwrap(), ended.unwrap()), (1, 2));
    assert_eq!(reports.all().len(), 2);
}

#[tokio::test]
async fn what_is_started_in_a_span_has_its_lines_in_that_span() {
    let events = Events::default();
    let _listening = events.listen();
    let pool = Pool::new(PoolConfig::new("spans", 1)).unwrap();
    let span = tracing::info_span!("request", scope = "request");
    let (spawned, submitted) = span.in_scope(|| {
        let spawned = spawn("aside", async { tracing::info!("spawned") });
        (
            spawned,
            pool.try_submit("task", async { tracing::info!("submitted") }),
        )
    });
    spawned.await.unwrap();
    submitted.unwrap().await.unwrap();
    span.in_scope(|| scope("order"))
        .run(async |s| {
            s.spawn("child", async { tracing::info!("child") });
            Ok(())
        })
        .await
        .unwrap();

    for (message, spans) in [
        ("spawned", ["request"]),
        ("submitted", ["request"]),
        ("child", ["order"]),
    ] {
        assert_eq!(events.with_message(message)[0].spans, spans, "{message}");
    }
}

#[tokio::test]
async fn the_end_says_why_also_when_a_cleanup_has_changed_the_outcome() {
    let events = Events::default();
    let _listening = events.listen();
    let reports = Reports::default();
    let told = || {
        let end = events.with_message("scope ended").pop().unwrap();
        (
            end.field("reason").to_owned(),
            end.field("cause").to_owned(),
        )
    };

    let failed = scope("failing")
        .run(async |_| Err::<(), _>("no tea".into()))
        .await;
    assert!(failed.is_err());
    assert_eq!(told(), ("no tea".into(), String::new()));

    let panicked = scope("late")
        .timeout(Duration::from_millis(1))
        .on_report(reports.keep())
        .run(async |s| {
            s.defer("count", || panic!("no count"));
            std::future::pending::<Result<(), BoxError>>().await
        })
        .await;
    assert!(panicked.unwrap_err().panic().is_some());
    let (reason, cause) = told();
    assert!(reason.starts_with("no count ["), "{reason}");
    assert_eq!(cause, "timed out after 1ms");
    let text = reports.only().text;
    assert!(
        text.contains("after its body was cancelled: timed out"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_children_is_not_the_time_of_a_cleanup() {
    let took = Arc::new(Mutex::new(None));
    let keep = took.clone();
    scope("waiting")
        .on_report(move |report| *keep.lock().unwrap() = report.entries[0].took)
        .run(async |s| {
            s.defer("quick", || ());
            s.spawn("slow", clock::sleep(SECOND));
            Ok(())
        })
        .await
        .unwrap();

    assert_eq!(*took.lock().unwrap(), Some(Duration::ZERO));
}
