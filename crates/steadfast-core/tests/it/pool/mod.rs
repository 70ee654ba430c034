mod cancel;
mod end;
mod panics;
mod race;
mod submit;
mod turns;

use steadfast_core::pool::{Pool, PoolConfig, Ticket};
use tokio::sync::oneshot;
use tokio::task::yield_now;

fn pool(workers: usize) -> Pool {
    Pool::new(PoolConfig::new("pool", workers)).unwrap()
}

fn pool_with_queue(workers: usize, queue_max: usize) -> Pool {
    Pool::new(PoolConfig {
        queue_max,
        ..PoolConfig::new("pool", workers)
    })
    .unwrap()
}

/// Occupies one worker until the returned sender is used or dropped.
async fn occupy(pool: &Pool) -> (oneshot::Sender<()>, Ticket<()>) {
    let (release, released) = oneshot::channel();
    let (started, start) = oneshot::channel();
    let ticket = pool.submit("occupy", async move {
        started.send(()).unwrap();
        let _ = released.await;
    });
    let ticket = ticket.await.unwrap();
    start.await.unwrap();
    (release, ticket)
}

/// Lets everything else run until it can go no further.
async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut cx) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

/// Outside of ours, to keep hold of what a task leaves behind.
#[allow(
    clippy::disallowed_methods,
    reason = "must not be in the task's context"
)]
fn tokio_spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}
