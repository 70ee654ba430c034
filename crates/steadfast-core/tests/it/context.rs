//! The context: where it goes along, and what brings it back.

use std::time::Duration;

use steadfast_core::context::{
    self, Context, KEYS_MAX, Name, SpanId, Tag, Tier, TraceId, VALUE_BYTES_MAX,
};
use steadfast_core::{BoxError, clock, reaper, recover, scope};

use crate::support::{Bomb, Log};

const SECOND: Duration = Duration::from_secs(1);

fn request() -> Context {
    Context::new()
        .with_trace_id(TraceId::random())
        .with_span_id(SpanId::random())
        .with_tier(Tier::CORE)
        .with_route("/orders/{id}")
        .with_tenant(Tag::new("acme").unwrap())
        .with_job(7, 2)
        .with_change(3)
}

#[test]
fn a_context_is_in_force_for_its_call_and_gone_after_it_even_if_that_panics() {
    let request = request();

    let inside = request.run(context::current);
    assert_eq!(inside.trace_id(), request.trace_id());
    assert_eq!(inside.span_id(), request.span_id());
    assert_eq!((inside.tier(), inside.tenant()), (Tier::CORE, Some("acme")));
    assert_eq!(inside.route(), Some(Name::new("/orders/{id}")));
    assert_eq!(
        (inside.job(), inside.attempt(), inside.change()),
        (Some(7), 2, Some(3))
    );
    assert!(context::current().trace_id().is_none());

    let panic = recover(|| request.run(|| panic!("inside"))).unwrap_err();
    assert_eq!(panic.trace_id(), request.trace_id());
    assert!(context::current().trace_id().is_none());
}

#[tokio::test]
async fn a_context_is_in_force_at_every_poll_and_in_the_drop_of_its_future() {
    struct LooksAtDrop(Log);
    impl Drop for LooksAtDrop {
        fn drop(&mut self) {
            self.0
                .say(format!("{}", context::current().trace_id().is_some()));
        }
    }
    let request = request();
    let log = Log::default();

    let seen = request
        .wrap(async {
            let before = context::current().trace_id();
            tokio::task::yield_now().await;
            (before, context::current().trace_id())
        })
        .await;
    assert_eq!(seen, (request.trace_id(), request.trace_id()));
    let looks = LooksAtDrop(log.clone());
    drop(request.wrap(async move {
        let _looks = looks;
    }));
    let bomb = request.wrap(async {
        let _bomb = Bomb("in the drop");
        std::future::pending::<()>().await;
    });
    let mut bomb = Box::pin(bomb);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(bomb.as_mut().poll(&mut cx).is_pending());
    assert!(recover(|| drop(bomb)).is_err());

    log.expect(&["true"]);
    assert!(context::current().trace_id().is_none());
}

#[tokio::test]
async fn changes_last_to_the_end_of_the_scope_its_cleanups_and_what_it_starts() {
    let log = Log::default();
    let look = |name: &'static str, log: &Log| {
        let log = log.clone();
        move || {
            let tenant = context::current();
            log.say(format!(
                "{name} {:?} {:?}",
                tenant.tenant(),
                context::get("order").as_deref()
            ));
        }
    };
    let acme = |context: Context| context.with_tenant(Tag::new("acme").unwrap());

    scope("request")
        .run(async |s| {
            s.defer("sync", look("cleanup", &log));
            let now = look("async cleanup", &log);
            s.defer_async("async", async move || now());
            s.spawn("early", {
                let now = look("early child", &log);
                async move { now() }
            })
            .await?;
            context::update(acme);
            context::put("order", "4711")?;
            tokio::task::yield_now().await;
            look("body", &log)();
            let now = look("child", &log);
            s.spawn("child", async move { now() }).await?;
            let now = look("inner scope", &log);
            scope("inner").run_sync(|_| {
                now();
                Ok::<_, BoxError>(())
            })?;
            Ok(())
        })
        .await
        .unwrap();
    scope("sync")
        .run_sync(|s| {
            s.defer("cleanup", look("sync cleanup", &log));
            context::update(acme);
            Ok(())
        })
        .unwrap();
    let dropped = scope("dropped").run::<(), _, _>(async |s| {
        s.defer("cleanup", look("reaped cleanup", &log));
        context::put("order", "12")?;
        std::future::pending().await
    });
    let mut dropped = Box::pin(dropped);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(dropped.as_mut().poll(&mut cx).is_pending());
    drop(dropped);
    reaper::drain().await;

    look("outside", &log)();
    log.expect(&[
        "early child None None",
        r#"body Some("acme") Some("4711")"#,
        r#"child Some("acme") Some("4711")"#,
        r#"inner scope Some("acme") Some("4711")"#,
        r#"async cleanup Some("acme") Some("4711")"#,
        r#"cleanup Some("acme") Some("4711")"#,
        r#"sync cleanup Some("acme") None"#,
        r#"reaped cleanup None Some("12")"#,
        "outside None None",
    ]);
}

#[test]
fn what_was_captured_is_in_force_on_another_thread_for_the_call_alone() {
    let request = request();
    let captured = request.run(|| {
        context::put("order", "4711").unwrap();
        let inside = scope("request").run_sync(|_| Ok::<_, BoxError>(context::capture()));
        inside.unwrap()
    });

    let seen = std::thread::spawn(move || {
        let inside = captured.run(|| {
            (
                context::current().trace_id(),
                context::scope_path().to_string(),
                context::get("order"),
            )
        });
        assert!(context::current().trace_id().is_none());
        inside
    });

    let (trace_id, path, order) = seen.join().unwrap();
    assert_eq!(trace_id, request.trace_id());
    assert_eq!((path.as_str(), order.as_deref()), ("request", Some("4711")));
}

#[tokio::test]
async fn interleaved_tasks_keep_their_contexts_apart() {
    let tasks: Vec<_> = (0..10)
        .map(|i| {
            let request = Context::new().with_job(i, 1);
            request.wrap(async move {
                for _ in 0..20 {
                    assert_eq!(context::current().job(), Some(i));
                    tokio::task::yield_now().await;
                    context::put("last", &i.to_string()).unwrap();
                }
                context::get("last").unwrap().parse::<u64>().unwrap()
            })
        })
        .collect();
    let tasks: Vec<_> = tasks
        .into_iter()
        .map(|task| steadfast_core::spawn("task", task))
        .collect();

    for (i, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap(), i as u64);
    }
}

#[test]
fn values_are_bounded_in_number_and_length_and_can_be_overwritten() {
    Context::new().run(|| {
        for i in 0..KEYS_MAX {
            context::put(format!("key {i}"), "old").unwrap();
        }
        assert!(context::put("one more", "x").is_err());
        context::put("key 3", &"é".repeat(VALUE_BYTES_MAX)).unwrap();

        assert_eq!(context::get("key 3").unwrap().len(), VALUE_BYTES_MAX);
        assert_eq!(context::entries().len(), KEYS_MAX);
        assert_eq!(context::entries()[3].0.as_str(), "key 3");
        assert!(context::get("one more").is_none());
    });
    assert!(context::entries().is_empty());
}

#[test]
fn a_scope_gives_ids_to_work_that_has_none_and_keeps_those_it_has() {
    let (fresh, inner) = scope("outer")
        .run_sync(|_| {
            let inner = scope("inner").run_sync(|_| Ok::<_, BoxError>(context::current()))?;
            Ok((context::current(), inner))
        })
        .unwrap();
    assert!(fresh.trace_id().is_some() && fresh.span_id().is_some());
    assert_eq!(inner.trace_id(), fresh.trace_id());
    assert_ne!(inner.span_id(), fresh.span_id());

    let request = request();
    let known = request.run(|| {
        let inside = scope("known").run_sync(|_| Ok::<_, BoxError>(context::current()));
        inside.unwrap()
    });
    assert_eq!(known.trace_id(), request.trace_id());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_scope_is_in_its_context_and_only_shortens() {
    let outer = Context::new().with_deadline(clock::now() + 5 * SECOND);
    let left = |timeout: u32| {
        scope("inner")
            .timeout(timeout * SECOND)
            .run_sync(|_| Ok::<_, BoxError>(context::current().time_left().unwrap()))
    };

    outer.run(|| {
        assert_eq!(left(2).unwrap(), 2 * SECOND);
        assert_eq!(left(9).unwrap(), 5 * SECOND);
    });
}

#[test]
fn a_long_path_shows_its_innermost_names() {
    fn dive(depth: usize) -> String {
        scope(format!("level {depth}"))
            .run_sync(|_| {
                Ok::<_, BoxError>(match depth {
                    9 => context::scope_path().to_string(),
                    _ => dive(depth + 1),
                })
            })
            .unwrap()
    }

    let path = dive(0);

    assert!(path.starts_with("… > level 2 > level 3"), "{path}");
    assert!(path.ends_with("level 9"), "{path}");
}

#[test]
fn work_outside_of_a_scope_has_a_token_that_nobody_cancels() {
    assert!(context::scope_path().is_empty());
    assert!(!context::cancel().is_cancelled());
}

#[test]
fn a_scope_deeper_than_a_path_reaches_still_cleans_up_and_cancels_its_own() {
    fn dive(depth: usize, log: &Log) {
        scope("level")
            .run_sync(|s| {
                s.defer("cleanup", || log.say(depth.to_string()));
                if depth < 100 {
                    dive(depth + 1, log);
                }
                Ok::<_, BoxError>(())
            })
            .unwrap();
    }
    let log = Log::default();

    dive(0, &log);

    let expected: Vec<_> = (0..=100).rev().map(|depth| depth.to_string()).collect();
    assert_eq!(log.lines(), expected);
}
