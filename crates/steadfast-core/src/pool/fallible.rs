use super::submit::Submission;
use super::task::Call;
use super::{BlockingPool, Pool, Rejected, Ticket, TicketError};
use crate::clock::Instant;
use crate::context::Name;

/// A pool for tasks that return a `Result`; made by [`Pool::fallible`] and
/// [`BlockingPool::fallible`].
///
/// The methods are those of the pool, except that an error of the task is
/// [`TicketError::Failed`].
#[derive(Debug)]
pub struct Fallible<'a, P> {
    pub(super) pool: &'a P,
}

impl<P> Clone for Fallible<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Fallible<'_, P> {}

impl Fallible<'_, Pool> {
    /// Submits a task as [`Pool::submit`] does.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn submit<T, E, F>(
        self,
        name: impl Into<Name>,
        future: F,
    ) -> Result<Ticket<T, E>, Rejected>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.pool.submission(name, future).wait(None).await
    }

    /// Submits a task as [`Pool::try_submit`] does.
    ///
    /// # Errors
    /// As there.
    pub fn try_submit<T, E, F>(
        self,
        name: impl Into<Name>,
        future: F,
    ) -> Result<Ticket<T, E>, Rejected>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.pool.submission(name, future).now()
    }

    /// Submits a task as [`Pool::submit_until`] does.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn submit_until<T, E, F>(
        self,
        deadline: Instant,
        name: impl Into<Name>,
        future: F,
    ) -> Result<Ticket<T, E>, Rejected>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let submission = self.pool.submission(name, future);
        submission.wait(Some(deadline)).await
    }

    /// Submits a task and awaits its outcome, as [`Pool::run`] does.
    ///
    /// # Errors
    /// [`TicketError`], failure and rejection included.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn run<T, E, F>(self, name: impl Into<Name>, future: F) -> Result<T, TicketError<E>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.submit(name, future).await?.cancel_on_drop().await
    }
}

impl Fallible<'_, BlockingPool> {
    /// Submits a task as [`BlockingPool::submit`] does.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn submit<T, E, G>(
        self,
        name: impl Into<Name>,
        closure: G,
    ) -> Result<Ticket<T, E>, Rejected>
    where
        G: FnOnce() -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.submission(name, closure).wait(None).await
    }

    /// Submits a task as [`BlockingPool::try_submit`] does.
    ///
    /// # Errors
    /// As there.
    pub fn try_submit<T, E, G>(
        self,
        name: impl Into<Name>,
        closure: G,
    ) -> Result<Ticket<T, E>, Rejected>
    where
        G: FnOnce() -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.submission(name, closure).now()
    }

    /// Submits a task as [`BlockingPool::submit_until`] does.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn submit_until<T, E, G>(
        self,
        deadline: Instant,
        name: impl Into<Name>,
        closure: G,
    ) -> Result<Ticket<T, E>, Rejected>
    where
        G: FnOnce() -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.submission(name, closure).wait(Some(deadline)).await
    }

    /// Submits a task and awaits its outcome, as [`BlockingPool::run`] does.
    ///
    /// # Errors
    /// [`TicketError`], failure and rejection included.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn run<T, E, G>(self, name: impl Into<Name>, closure: G) -> Result<T, TicketError<E>>
    where
        G: FnOnce() -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.submit(name, closure).await?.cancel_on_drop().await
    }

    fn submission<T, E, G>(self, name: impl Into<Name>, closure: G) -> Submission<Call<G>, T, E>
    where
        G: FnOnce() -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        Submission::new(&self.pool.owner.shared, name.into(), Call::new(closure))
    }
}
