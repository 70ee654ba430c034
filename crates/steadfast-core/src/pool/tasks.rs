use std::fmt;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::config::{PoolConfig, PoolError, Refusal};
use super::shared::{Owner, Workers};
use super::submit::Submission;
use super::task::Succeeds;
use super::{Fallible, PoolStats, Rejected, RunningTask, Ticket, TicketError};
use crate::cancel::Cause;
use crate::clock::Instant;
use crate::context::Name;

/// Runs futures, so many at a time, on the tokio runtime in which it was made. A cheap clone.
///
/// See the [module](super) for what it promises. Compared with [`BlockingPool`]: for work that
/// waits. Compared with children of a [`Scope`](crate::Scope::spawn): tasks are bounded in number,
/// and outlive whoever submits them.
///
/// [`BlockingPool`]: super::BlockingPool
#[derive(Clone)]
pub struct Pool {
    pub(super) owner: Arc<Owner>,
}

impl Pool {
    /// Makes a pool, and starts its workers.
    ///
    /// # Errors
    /// [`PoolError`] when a value of the config is out of its range, or when there is no tokio
    /// runtime around; retrying is of no use.
    pub fn new(config: PoolConfig) -> Result<Self, PoolError> {
        let runtime = Handle::try_current().map_err(|_| Refusal::NoRuntime)?;
        Ok(Self {
            owner: Owner::start(config, Workers::Tasks(runtime))?,
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
    pub async fn submit<T, F>(
        &self,
        name: impl Into<Name>,
        future: F,
    ) -> Result<Ticket<T>, Rejected>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.submission(name, Succeeds::new(future))
            .wait(None)
            .await
    }

    /// Submits a task if there is room now.
    ///
    /// # Errors
    /// [`Rejected`] when the queue of its tier is full (it may be retried later) or the pool is
    /// closed.
    pub fn try_submit<T, F>(&self, name: impl Into<Name>, future: F) -> Result<Ticket<T>, Rejected>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.submission(name, Succeeds::new(future)).now()
    }

    /// Submits a task as [`submit`](Self::submit) does, if there is room before `deadline`. That
    /// is only how long the submitter waits: the task's own deadline is that of the context.
    ///
    /// # Errors
    /// [`Rejected`] when the deadline comes first (it may be retried later) or the pool is closed.
    ///
    /// # Panics
    /// When it has to wait in a runtime without timers.
    ///
    /// # Cancel safety
    /// As [`submit`](Self::submit).
    pub async fn submit_until<T, F>(
        &self,
        deadline: Instant,
        name: impl Into<Name>,
        future: F,
    ) -> Result<Ticket<T>, Rejected>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let submission = self.submission(name, Succeeds::new(future));
        submission.wait(Some(deadline)).await
    }

    /// Submits a task as [`submit`](Self::submit) does, and awaits its outcome.
    ///
    /// # Errors
    /// [`TicketError`], rejection included.
    ///
    /// # Cancel safety
    /// When dropped before it is done, the task is cancelled with [`Cause::ClientGone`].
    ///
    /// # Examples
    /// ```
    /// # use steadfast_core as steadfast;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use steadfast::pool::{Pool, PoolConfig};
    ///
    /// let pool = Pool::new(PoolConfig::new("lookups", 2))?;
    /// assert_eq!(pool.run("one", async { 1 }).await?, 1);
    ///
    /// let ended = pool.run("two", async { panic!("no two") }).await;
    /// assert_eq!(ended.unwrap_err().panic().unwrap().message(), "no two");
    /// # Ok(()) }
    /// ```
    pub async fn run<T, F>(&self, name: impl Into<Name>, future: F) -> Result<T, TicketError>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.submit(name, future).await?.cancel_on_drop().await
    }

    /// Gives the form of this pool for tasks that return a `Result`: an error counts as a failed
    /// task, and its ticket says [`TicketError::Failed`].
    ///
    /// # Examples
    /// ```
    /// # use steadfast_core as steadfast;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use steadfast::pool::{Pool, PoolConfig, TicketError};
    ///
    /// let pool = Pool::new(PoolConfig::new("parse", 2))?;
    /// let ended = pool.fallible().run("number", async { "x".parse::<u8>() }).await;
    /// assert!(matches!(ended, Err(TicketError::Failed(_))));
    /// assert_eq!(pool.stats().failed, 1);
    /// # Ok(()) }
    /// ```
    pub fn fallible(&self) -> Fallible<'_, Self> {
        Fallible { pool: self }
    }

    /// Changes the number of workers, at once for tasks to be started: those that run above the
    /// new number end first. Nothing queued is lost.
    ///
    /// # Errors
    /// [`PoolError`] when `workers` is not from 1 to [`PoolConfig::WORKERS_MAX`]; nothing changes.
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

    /// Accepts no more tasks and cancels those that are queued, from this call on; those that
    /// run are dropped at their next await. The future is done when the workers have left.
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

    pub(super) fn submission<F, T, E>(
        &self,
        name: impl Into<Name>,
        future: F,
    ) -> Submission<F, T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        Submission::new(&self.owner.shared, name.into(), future)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.stats()).finish()
    }
}
