use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Blocks the calling thread until a future is done: for programs without a runtime that use a
/// [`BlockingPool`](super::BlockingPool).
///
/// Fit for what the pool hands out: submissions without a deadline, tickets, drain and stop. A
/// future that needs a runtime's timers or sockets panics here. Never call it in async code, whose
/// thread it takes away, nor in a task for the ticket of another task of the same pool: when all
/// workers wait like that, none is left to run what they wait for.
///
/// # Panics
/// When the future does, as one that needs a runtime's timers or sockets does here.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::pool::{BlockingPool, PoolConfig, block_on};
///
/// let pool = BlockingPool::new(PoolConfig::per_core("hash"))?;
/// let ticket = block_on(pool.submit("sum", || (1..=10).sum::<u32>()))?;
/// assert_eq!(block_on(ticket)?, 55);
/// block_on(pool.drain());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Unpark::waker();
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Wakes a thread that is parked.
pub(super) struct Unpark(Thread);

impl Unpark {
    /// Makes a waker for the calling thread.
    pub(super) fn waker() -> Waker {
        Waker::from(Arc::new(Self(thread::current())))
    }
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
