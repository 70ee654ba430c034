//! Another size, and the end.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use steadfast_core::pool::{Pool, PoolConfig, TicketError};
use steadfast_core::{Cause, report, spawn};
use tokio::sync::Semaphore;
use tokio::task::yield_now;

use super::{futures_poll, occupy, pool, pool_with_queue, settle};

#[tokio::test]
async fn the_pool_grows_and_shrinks_while_it_works() {
    let pool = pool(2);
    let gate = Arc::new(Semaphore::new(0));
    let running = Arc::new(AtomicUsize::new(0));
    let mut tickets = Vec::new();
    for _ in 0..20 {
        let (gate, running) = (gate.clone(), running.clone());
        let task = async move {
            running.fetch_add(1, Ordering::Relaxed);
            gate.acquire().await.unwrap().forget();
            running.fetch_sub(1, Ordering::Relaxed);
        };
        tickets.push(pool.submit("task", task).await.unwrap());
    }

    for (workers, release, expected) in [(2, 0, 2), (6, 0, 6), (3, 0, 6), (3, 4, 3), (5, 1, 5)] {
        pool.resize(workers).unwrap();
        gate.add_permits(release);
        settle().await;
        assert_eq!(running.load(Ordering::Relaxed), expected, "of {workers}");
        assert_eq!(pool.stats().in_flight, expected);
        assert_eq!(pool.stats().workers, expected);
    }
    gate.add_permits(100);
    for ticket in tickets {
        ticket.await.unwrap();
    }
    pool.resize(1).unwrap();
    settle().await;
    assert_eq!(pool.stats().workers, 1, "those at rest leave, too");
}

#[tokio::test]
async fn a_drain_lets_all_that_was_accepted_end_and_accepts_nothing_more() {
    let pool = pool_with_queue(1, 2);
    let (release, occupied) = occupy(&pool).await;
    let queued = pool.try_submit("queued", async { 1 }).unwrap();
    let full = pool.try_submit("queued", async { 2 }).unwrap();
    let waiting = {
        let pool = pool.clone();
        spawn("submitter", async move {
            pool.submit("waits", async {}).await.map(drop)
        })
    };
    settle().await;

    let (one, two) = (pool.drain(), pool.drain());
    assert!(pool.try_submit("after", async {}).unwrap_err().is_closed());
    assert!(waiting.await.unwrap().unwrap_err().is_closed());
    let mut one = Box::pin(one);
    assert!(
        futures_poll(one.as_mut()).is_none(),
        "a task is still running"
    );
    drop(release);
    one.await;
    two.await;

    assert!(occupied.is_finished() && queued.is_finished());
    assert_eq!(queued.await.unwrap() + full.await.unwrap(), 3);
    let stats = pool.stats();
    assert_eq!((stats.workers, stats.depth(), stats.is_open), (0, 0, false));
    assert_eq!(stats.rejected_closed, 2);
    pool.drain().await;
    pool.stop(Cause::Shutdown).await;
    pool.resize(5).unwrap();
    assert_eq!(pool.stats().workers, 0, "nothing is left to do for them");
}

#[tokio::test]
async fn a_stop_cancels_queued_and_running_tasks_also_during_a_drain() {
    let pool = pool(1);
    let running = pool.submit("running", pending::<()>()).await.unwrap();
    let queued = pool.try_submit("queued", async {}).unwrap();
    settle().await;

    let drained = pool.drain();
    let stopped = pool.stop(Cause::Shutdown);
    let again = pool.stop(Cause::Shed);
    stopped.await;
    again.await;
    drained.await;

    assert!(matches!(
        running.await,
        Err(TicketError::Cancelled(Cause::Shutdown))
    ));
    assert!(matches!(
        queued.await,
        Err(TicketError::Cancelled(Cause::Shutdown))
    ));
    assert_eq!(pool.stats().cancelled, 2);
    assert_eq!(pool.stats().workers, 0);
}

#[tokio::test]
async fn nothing_starts_after_a_stop() {
    let pool = pool_with_queue(1, 10_000);
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..10_000 {
        let done = done.clone();
        drop(pool.try_submit("quick", async move { done.fetch_add(1, Ordering::Relaxed) }));
    }
    // The worker has taken its next task, and gives others their turn before it starts it.
    while pool.stats().completed == 0 {
        yield_now().await;
    }
    assert_eq!(pool.stats().in_flight, 1);
    let before = done.load(Ordering::Relaxed);

    pool.stop(Cause::Shutdown).await;

    assert_eq!(done.load(Ordering::Relaxed), before);
    let stats = pool.stats();
    assert_eq!(stats.completed, before as u64);
    assert_eq!(stats.cancelled, 10_000 - before as u64);
}

#[tokio::test]
async fn dropping_the_last_handle_is_a_drain() {
    let pool = Pool::new(PoolConfig::new("dropped", 2)).unwrap();
    let (release, occupied) = occupy(&pool).await;
    let clone = pool.clone();
    let queued = pool.submit("queued", async move {
        drop(clone);
        5
    });
    let queued = queued.await.unwrap();
    let is_reported = || {
        let mut sources = report::snapshot().sources.into_iter();
        sources.any(|source| source.name.as_str() == "dropped")
    };
    assert!(is_reported());

    drop(pool);
    drop(release);

    occupied.await.unwrap();
    assert_eq!(queued.await.unwrap(), 5);
    settle().await;
    assert!(
        !is_reported(),
        "all workers have left, and the pool is gone"
    );
}

#[test]
fn when_the_runtime_ends_every_ticket_says_so_and_nothing_more_is_accepted() {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    let held = Arc::new(());
    let (pool, tickets) = runtime.block_on(async {
        let pool = pool(2);
        let mut tickets = Vec::new();
        for _ in 0..5 {
            let held = held.clone();
            let task = async move {
                let _held = held;
                pending::<()>().await;
            };
            tickets.push(pool.submit("for ever", task).await.unwrap());
        }
        (pool, tickets)
    });

    drop(runtime);

    for ticket in tickets {
        let ended = steadfast_core::pool::block_on(ticket);
        assert!(matches!(ended, Err(TicketError::Cancelled(Cause::Dropped))));
    }
    assert_eq!(Arc::strong_count(&held), 1);
    assert!(pool.try_submit("late", async {}).unwrap_err().is_closed());
    steadfast_core::pool::block_on(pool.drain());
    assert_eq!((pool.stats().workers, pool.stats().cancelled), (0, 5));
}

#[test]
fn when_the_runtime_ends_a_pool_with_idle_workers_accepts_nothing_more() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let pool = runtime.block_on(async {
        let pool = pool(2);
        settle().await;
        pool
    });

    drop(runtime);

    assert!(pool.try_submit("late", async {}).unwrap_err().is_closed());
    steadfast_core::pool::block_on(pool.drain());
    assert_eq!(pool.stats().workers, 0);
}
