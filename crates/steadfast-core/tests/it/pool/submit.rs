//! Who may submit, and what a task is given.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::context::{self, Context, Tier, TraceId};
use steadfast_core::pool::{Pool, PoolConfig};
use steadfast_core::{Cause, clock, scope, spawn};
use tokio::task::yield_now;

use super::{futures_poll, occupy, pool, pool_with_queue, settle};

#[tokio::test]
async fn every_end_is_told_apart_by_the_ticket_and_by_the_counts() {
    let pool = pool_with_queue(1, 1);
    let (release, occupied) = occupy(&pool).await;
    let queued = pool.try_submit("queued", async {}).unwrap();

    let rejected = pool.try_submit("rejected", async {}).unwrap_err();
    assert!(rejected.is_full() && rejected.is_overload() && !rejected.is_closed());
    assert_eq!(
        rejected.to_string(),
        "pool pool has 1 tasks of tier 1 queued, which is its bound"
    );
    queued.cancel(Cause::Requested("test".into()));
    let cancelled = queued.await.unwrap_err();
    assert_eq!(cancelled.cause().unwrap().as_str(), "requested");
    drop(release);
    occupied.await.unwrap();
    assert_eq!(pool.run("completed", async { 5 }).await.unwrap(), 5);
    let failed = pool.fallible().run("failed", async { Err::<(), _>("no") });
    assert_eq!(failed.await.unwrap_err().failed(), Some(&"no"));
    let panicked: Result<(), _> = pool.run("panicked", async { panic!("ouch") }).await;
    assert_eq!(panicked.unwrap_err().panic().unwrap().message(), "ouch");

    let stats = pool.stats();
    assert_eq!((stats.completed, stats.failed), (2, 1));
    assert_eq!((stats.panicked, stats.cancelled), (1, 1));
    assert_eq!((stats.rejected_full, stats.rejected()), (1, 1));
    assert_eq!((stats.ended(), stats.in_flight), (5, 0));
}

#[tokio::test]
async fn configs_and_sizes_out_of_range_are_refused_with_the_range() {
    let cases = [
        (0, 1, "workers is 0, but must be from 1 to 65536"),
        (65_537, 1, "workers is 65537, but must be from 1 to 65536"),
        (1, 0, "queue_max is 0, but must be from 1 to 1048576"),
        (
            1,
            1_048_577,
            "queue_max is 1048577, but must be from 1 to 1048576",
        ),
    ];
    for (workers, queue_max, message) in cases {
        let config = PoolConfig {
            queue_max,
            ..PoolConfig::new("pool", workers)
        };
        let error = Pool::new(config).unwrap_err();
        assert!(error.is_out_of_range());
        assert_eq!(error.to_string(), message);
    }

    let pool = pool(2);
    assert!(pool.resize(0).unwrap_err().is_out_of_range());
    assert_eq!(pool.stats().workers_target, 2);
}

#[test]
fn outside_a_runtime_a_pool_of_async_tasks_is_refused() {
    let error = Pool::new(PoolConfig::new("pool", 1)).unwrap_err();

    assert!(error.is_no_runtime());
}

#[tokio::test]
async fn a_submitter_waits_for_room_in_the_order_in_which_it_came() {
    let pool = pool_with_queue(1, 1);
    let (release, _occupied) = occupy(&pool).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let log = |n: u32| {
        let order = order.clone();
        async move { order.lock().unwrap().push(n) }
    };
    let first = pool.try_submit("first", log(1)).unwrap();

    let waiting: Vec<_> = (2..5)
        .map(|n| {
            let (pool, task) = (pool.clone(), log(n));
            spawn("submitter", async move {
                pool.submit("next", task).await.unwrap().await.unwrap();
            })
        })
        .collect();
    settle().await;
    assert_eq!(pool.stats().tiers[1].submitters, 3);
    assert!(pool.try_submit("pushy", log(9)).unwrap_err().is_full());
    drop(release);
    first.await.unwrap();
    for submitter in waiting {
        submitter.await.unwrap();
    }

    assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_submitter_that_gives_up_leaves_its_place_to_the_next() {
    let pool = pool_with_queue(1, 1);
    let (release, _occupied) = occupy(&pool).await;
    let queued = pool.try_submit("queued", async {}).unwrap();
    let ran = Arc::new(AtomicBool::new(false));
    let flag = ran.clone();

    let mut gives_up = Box::pin(pool.submit("gives up", async move {
        flag.store(true, Ordering::Relaxed);
    }));
    assert!(futures_poll(gives_up.as_mut()).is_none());
    let mut stays = Box::pin(pool.submit("stays", async { 7 }));
    assert!(futures_poll(stays.as_mut()).is_none());
    drop(release);
    queued.await.unwrap();
    // The first one has been let in by now, and never looks.
    assert!(futures_poll(stays.as_mut()).is_none());
    drop(gives_up);

    assert_eq!(stays.await.unwrap().await.unwrap(), 7);
    assert!(!ran.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_submitter_waits_until_its_deadline_and_not_longer() {
    let pool = pool_with_queue(1, 1);
    let (release, _occupied) = occupy(&pool).await;
    let _queued = pool.try_submit("queued", async {}).unwrap();
    let start = clock::now();

    let at = start + Duration::from_secs(3);
    let late = pool.submit_until(at, "late", async {}).await.unwrap_err();
    assert!(late.is_late() && late.is_overload());
    assert_eq!(clock::now() - start, Duration::from_secs(3));
    spawn("release", async move {
        clock::sleep(Duration::from_secs(1)).await;
        drop(release);
    });
    let at = clock::now() + Duration::from_secs(3);
    let in_time = pool.submit_until(at, "in time", async {}).await.unwrap();
    in_time.await.unwrap();

    let stats = pool.stats();
    assert_eq!(clock::now() - start, Duration::from_secs(4));
    assert_eq!((stats.rejected_late, stats.rejected()), (1, 1));
}

#[tokio::test]
async fn more_important_tiers_start_first_and_have_a_queue_of_their_own() {
    let pool = pool_with_queue(1, 2);
    let (release, _occupied) = occupy(&pool).await;
    let order = Arc::new(Mutex::new(Vec::new()));

    let mut tickets = Vec::new();
    for tier in [5, 5, 0, 1, 0, 1] {
        let order = order.clone();
        let task = async move { order.lock().unwrap().push(tier) };
        let context = Context::new().with_tier(Tier::new(tier).unwrap());
        let ticket = context.run(|| pool.try_submit("task", task));
        tickets.push(ticket.expect("the flood of others takes no room"));
    }
    let core = Context::new().with_tier(Tier::CORE);
    let full = core.run(|| pool.try_submit("one more", async {}));
    assert_eq!(
        full.unwrap_err().to_string(),
        "pool pool has 2 tasks of core queued, which is its bound"
    );
    drop(release);
    for ticket in tickets {
        ticket.await.unwrap();
    }

    assert_eq!(*order.lock().unwrap(), [0, 0, 1, 1, 5, 5]);
}

#[tokio::test]
async fn a_task_has_the_context_of_its_submitter_and_a_path_of_its_own() {
    let pool = pool(1);
    let trace_id = TraceId::random();
    let context = Context::new().with_trace_id(trace_id).with_tier(Tier::CORE);

    let ended = context
        .wrap(async {
            context::put("order", "4711").unwrap();
            let body = scope("request").run(async |_| {
                let ticket = pool.submit("resize", async {
                    yield_now().await;
                    let context = context::current();
                    assert_eq!(context.tier(), Tier::CORE);
                    assert_eq!(context::get("order").as_deref(), Some("4711"));
                    context::put("order", "mine").unwrap();
                    panic!("with a context");
                });
                let ended: Result<(), _> = ticket.await?.await;
                assert_eq!(context::get("order").as_deref(), Some("4711"));
                Ok(ended.unwrap_err())
            });
            body.await.unwrap()
        })
        .await;

    let panic = ended.panic().unwrap();
    assert_eq!(panic.trace_id(), Some(trace_id));
    assert_eq!(panic.scope_path().to_string(), "pool > resize");
    assert_eq!(&*panic.entries()[0].1, "mine");
}
