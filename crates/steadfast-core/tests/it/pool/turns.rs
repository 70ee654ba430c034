//! What is seen of tasks, and whose turn it is.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use steadfast_core::context::{Context, Tier, TraceId};
use steadfast_core::pool::{Pool, PoolConfig};
use steadfast_core::{clock, report};
use tokio::task::yield_now;

use super::{occupy, pool, pool_with_queue, settle, tokio_spawn};

#[tokio::test(start_paused = true)]
async fn what_waits_and_what_never_returns_shows_in_the_statistics() {
    let pool = Pool::new(PoolConfig::new("seen", 2)).unwrap();
    let trace_id = TraceId::random();
    let stuck = Context::new().with_trace_id(trace_id);
    let _stuck = stuck
        .run(|| pool.try_submit("stuck", pending::<()>()))
        .unwrap();
    settle().await;
    clock::sleep(Duration::from_secs(60)).await;
    let (_release, _occupied) = occupy(&pool).await;
    let low = Context::new().with_tier(Tier::new(3).unwrap());
    let waits = low.run(|| pool.try_submit("waits", async {})).unwrap();
    clock::sleep(Duration::from_secs(2)).await;

    let stats = pool.stats();
    let longest = stats.longest.unwrap();
    assert_eq!(
        (longest.name.as_str(), longest.trace_id),
        ("stuck", Some(trace_id))
    );
    assert_eq!(longest.age.as_secs(), 62);
    let names: Vec<_> = pool
        .running()
        .iter()
        .map(|task| task.name.as_str())
        .collect();
    assert_eq!(names, ["stuck", "occupy"]);
    assert_eq!(stats.tiers[3].depth, 1);
    assert_eq!(stats.tiers[3].oldest_wait.as_secs(), 2);
    let value = |name: &str, label: &str| {
        let snapshot = report::snapshot();
        let source = snapshot.sources.iter().find(|s| s.name.as_str() == "seen");
        let metrics = &source.unwrap().metrics;
        let found = metrics.iter().find(|metric| {
            metric.name == name && metric.labels.iter().any(|(_, l)| l.as_str() == label)
        });
        found.unwrap().value.clone()
    };
    use report::Value::{Armed, Counter, Gauge, Sum};
    assert_eq!(value("steadfast_pool_in_flight", "seen"), Gauge(2.0));
    assert_eq!(value("steadfast_pool_depth", "3"), Gauge(1.0));
    assert_eq!(value("steadfast_pool_oldest_wait_seconds", "3"), Gauge(2.0));
    assert_eq!(value("steadfast_pool_started_total", "1"), Counter(2));
    assert_eq!(value("steadfast_pool_open", "seen"), Armed(true));
    pool.resize(3).unwrap();
    waits.await.unwrap();
    assert_eq!(pool.stats().tiers[3].waited.as_secs(), 2);
    assert_eq!(value("steadfast_pool_waited_seconds_total", "3"), Sum(2.0));
    assert_eq!(value("steadfast_pool_tasks_total", "completed"), Counter(1));
}

#[tokio::test]
async fn tasks_that_never_wait_leave_others_their_turn() {
    let pool = pool_with_queue(1, 10_000);
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..10_000 {
        let done = done.clone();
        drop(pool.try_submit("quick", async move { done.fetch_add(1, Ordering::Relaxed) }));
    }

    yield_now().await;
    yield_now().await;

    assert!(done.load(Ordering::Relaxed) < 1_000);
    pool.drain().await;
    assert_eq!(done.load(Ordering::Relaxed), 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submitter_that_never_awaits_does_not_keep_its_tasks_from_starting() {
    for _ in 0..20 {
        let pool = pool(4);
        settle().await;
        let (sender, receiver) = mpsc::channel();
        let submitter = tokio_spawn(async move {
            for _ in 0..2 {
                let sender = sender.clone();
                drop(pool.try_submit("task", async move { sender.send(()).unwrap() }));
            }
            // Blocks this thread of the runtime, as a careless computation would.
            receiver.recv_timeout(Duration::from_secs(20)).unwrap();
        });
        submitter.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_the_outcome_finds_it_counted() {
    let pool = pool(2);
    for n in 1..=2_000 {
        pool.run("task", async {}).await.unwrap();
        assert_eq!(pool.stats().completed, n);
    }
}
