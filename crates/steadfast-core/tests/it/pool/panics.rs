//! Panics that are no task's own.

use std::sync::Arc;

use steadfast_core::{Cause, recover};
use tokio::task::yield_now;

use super::{occupy, pool, pool_with_queue, settle};

/// Panics when it is dropped, but not while another panic unwinds.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("bomb");
        }
    }
}

#[tokio::test]
async fn no_panic_in_any_drop_costs_a_worker() {
    let pool = pool(2);

    let in_future = pool.run("future", async {
        let _bomb = Bomb;
        yield_now().await;
    });
    assert_eq!(
        in_future.await.unwrap_err().panic().unwrap().message(),
        "bomb"
    );
    let payload = pool.run("payload", async { std::panic::panic_any(Bomb) });
    let payload: Result<(), _> = payload.await;
    drop(payload.unwrap_err());
    drop(
        pool.submit("output nobody takes", async { Bomb })
            .await
            .unwrap(),
    );
    let taken = pool.run("output that is taken", async { Bomb }).await;
    assert!(recover(|| drop(taken)).is_err());
    let (release, _occupied) = occupy(&pool).await;
    let (release_2, _occupied) = occupy(&pool).await;
    let bomb = Bomb;
    let queued = pool.submit("never run", async move { drop(bomb) });
    let queued = queued.await.unwrap();
    queued.cancel(Cause::ClientGone);
    assert!(queued.await.unwrap_err().cause().is_some());
    let bomb = Bomb;
    let rejected = {
        let queue = pool_with_queue(1, 1);
        queue.drain().await;
        queue.try_submit("rejected", async move { drop(bomb) })
    };
    assert!(rejected.unwrap_err().is_closed());

    drop((release, release_2));
    settle().await;
    let stats = pool.stats();
    assert_eq!((stats.workers, stats.in_flight), (2, 0));
    assert_eq!(pool.run("still works", async { 1 }).await.unwrap(), 1);
}

#[tokio::test]
async fn a_waker_that_panics_costs_no_worker() {
    struct Broken;
    impl std::task::Wake for Broken {
        fn wake(self: Arc<Self>) {
            panic!("broken waker");
        }
    }
    let pool = pool(1);
    let (release, _occupied) = occupy(&pool).await;
    let mut ticket = Box::pin(pool.try_submit("task", async {}).unwrap());

    let waker = Arc::new(Broken).into();
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(ticket.as_mut().poll(&mut cx).is_pending());
    drop(release);
    settle().await;

    assert!(ticket.is_finished());
    ticket.await.unwrap();
    assert_eq!(pool.run("still works", async { 1 }).await.unwrap(), 1);
}
