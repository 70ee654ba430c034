use std::fmt;
use std::sync::Arc;

use super::config::{PoolConfig, PoolError};
use super::shared::{Owner, Workers};
use super::submit::Submission;
use super::task::{Call, Succeeds};
use super::{Fallible, PoolStats, Rejected, RunningTask, Ticket, TicketError};
use crate::cancel::Cause;
use crate::clock::Instant;
use crate::context::Name;

/// Runs closures on threads of its own: for work that computes, and for calls that block. A cheap
/// clone.
///
/// See the [module](super) for what it promises. Needs no runtime: [`block_on`](super::block_on)
/// serves where nothing can be awaited. Compared with `tokio::task::spawn_blocking`: the number of
/// threads fits the cores, the queue has a bound and tiers, tasks keep their context, and a queued
/// task can be cancelled. Compared with rayon: for tasks on their own, each with an outcome, not
/// for splitting one computation.
///
/// A task that never returns keeps its thread for ever: nothing can take it away. It shows in
/// [`PoolStats::longest`] and in the report as `steadfast_pool_longest_run_seconds`, and drain and
/// stop wait for it: give them a limit. [`resize`](Self::resize) by one brings the lost capacity
/// back. When the process ends, the threads end with it.
#[derive(Clone)]
pub struct BlockingPool {
    pub(super) owner: Arc<Owner>,
}

impl BlockingPool {
    /// Makes a pool, and starts its threads.
    ///
    /// # Errors
    /// [`PoolError`] when a value of the config is out of its range, or when the system starts no
    /// more threads (a retry may help then).
    pub fn new(config: PoolConfig) -> Result<Self, PoolError> {
        Ok(Self {
            owner: Owner::start(config, Workers::Threads)?,
        })
    }

    /// Submits a task; waits while the queue of its tier is full, behind those of that tier who
    /// came before.
    ///
    /// # Errors
    /// [`Rejected`] when the pool is closed, also while waiting.
    ///
    /// # Cancel safety
    /// When dropped before it is done, the task was not submitted and is dropped; the place in
    /// line is lost.
    pub async fn submit<T, G>(
        &self,
        name: impl Into<Name>,
        closure: G,
    ) -> Result<Ticket<T>, Rejected>
    where
        G: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submission(name, closure).wait(None).await
    }

    /// Submits a task if there is room now.
    ///
    /// # Errors
    /// [`Rejected`] when the queue of its tier is full (it may be retried later) or the pool is
    /// closed.
    pub fn try_submit<T, G>(&self, name: impl Into<Name>, closure: G) -> Result<Ticket<T>, Rejected>
    where
        G: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submission(name, closure).now()
    }

    /// Submits a task as [`submit`](Self::submit) does, if there is room before `deadline`. That
    /// is only how long the submitter waits: the task's own deadline is that of the context.
    ///
    /// # Errors
    /// [`Rejected`] when the deadline comes first (it may be retried later) or the pool is closed.
    ///
    /// # Panics
    /// When it has to wait outside a tokio runtime with timers.
    ///
    /// # Cancel safety
    /// As [`submit`](Self::submit).
    pub async fn submit_until<T, G>(
        &self,
        deadline: Instant,
        name: impl Into<Name>,
        closure: G,
    ) -> Result<Ticket<T>, Rejected>
    where
        G: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submission(name, closure).wait(Some(deadline)).await
    }

    /// Submits a task as [`submit`](Self::submit) does, and awaits its outcome.
    ///
    /// # Errors
    /// [`TicketError`], rejection included.
    ///
    /// # Cancel safety
    /// When dropped before it is done, the task is cancelled with [`Cause::ClientGone`]: it does
    /// not start any more, or is asked to stop.
    ///
    /// # Examples
    /// ```
    /// # use steadfast_core as steadfast;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use steadfast::{context, pool::{BlockingPool, PoolConfig}};
    ///
    /// let pool = BlockingPool::new(PoolConfig::per_core("primes"))?;
    /// let found = pool.run("count", || {
    ///     // A long computation looks now and then whether anybody still wants it.
    ///     let cancel = context::cancel();
    ///     let candidates = (2..100u32).take_while(|_| !cancel.is_cancelled());
    ///     candidates.filter(|n| (2..*n).all(|d| n % d != 0)).count()
    /// });
    /// assert_eq!(found.await?, 25);
    /// # Ok(()) }
    /// ```
    pub async fn run<T, G>(&self, name: impl Into<Name>, closure: G) -> Result<T, TicketError>
    where
        G: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submit(name, closure).await?.cancel_on_drop().await
    }

    /// Gives the form of this pool for tasks that return a `Result`: an error counts as a failed
    /// task, and its ticket says [`TicketError::Failed`].
    pub fn fallible(&self) -> Fallible<'_, Self> {
        Fallible { pool: self }
    }

    /// Changes the number of threads, at once for tasks to be started: those that run above the
    /// new number end first. Nothing queued is lost.
    ///
    /// # Errors
    /// [`PoolError`] when `workers` is not from 1 to [`PoolConfig::THREADS_MAX`] (nothing
    /// changes), or when the system starts no more threads (those that it started work; a retry
    /// may start the rest).
    pub fn resize(&self, workers: usize) -> Result<(), PoolError> {
        self.owner.shared.resize(workers)
    }

    /// Accepts no more tasks, from this call on; the future is done when all that were accepted
    /// have ended and the workers have left.
    ///
    /// Submitters that wait for room are rejected.
    ///
    /// # Cancel safety
    /// The pool goes on draining when it is dropped.
    pub fn drain(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.owner.shared.clone().drain()
    }

    /// Accepts no more tasks, cancels those that are queued, and asks those that run to stop,
    /// from this call on. The future is done when the workers have left, which is when the last
    /// running task returns.
    ///
    /// Of several calls the first cause wins.
    ///
    /// # Cancel safety
    /// The pool goes on stopping when it is dropped.
    pub fn stop(&self, cause: Cause) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.owner.shared.clone().stop(cause)
    }

    /// Gives what the pool does at this moment. The [report](crate::report) has the same, by
    /// itself.
    pub fn stats(&self) -> PoolStats {
        self.owner.shared.stats()
    }

    /// Gives the tasks that run at this moment, the one that started first in front.
    pub fn running(&self) -> Vec<RunningTask> {
        self.owner.shared.running()
    }

    fn submission<T, G>(
        &self,
        name: impl Into<Name>,
        closure: G,
    ) -> Submission<Succeeds<Call<G>>, T, std::convert::Infallible>
    where
        G: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let call = Succeeds::new(Call::new(closure));
        Submission::new(&self.owner.shared, name.into(), call)
    }
}

impl fmt::Debug for BlockingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockingPool").field(&self.stats()).finish()
    }
}
