use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::job::Ending;
use super::shared::Shared;
use crate::cancel::Cause;
use crate::context::{Name, Tier};
use crate::panic::Panic;

/// The claim on the outcome of one accepted task; await it, or [block](super::block_on) on it.
///
/// Dropping it lets the task go on alone; its panic is still reported, its outcome still counted.
/// [`cancel_on_drop`](Self::cancel_on_drop) makes it take the task along.
///
/// # Errors
/// [`TicketError`], which tells the ends apart. [`TicketError::Failed`] only comes from pools
/// that are used as [`fallible`](super::Pool::fallible).
///
/// # Panics
/// When polled again after its end.
///
/// # Cancel safety
/// Awaiting `&mut Ticket` may be dropped and taken up again.
#[must_use = "dropping a ticket gives up the outcome of its task"]
pub struct Ticket<T, E = Infallible> {
    job: Arc<dyn Ending<T, E>>,
    shared: Arc<Shared>,
    tier: Tier,
    number: u64,
    cancel_on_drop: bool,
    taken: bool,
}

impl<T, E> Ticket<T, E> {
    pub(super) fn new(
        job: Arc<dyn Ending<T, E>>,
        shared: Arc<Shared>,
        tier: Tier,
        number: u64,
    ) -> Self {
        Self {
            job,
            shared,
            tier,
            number,
            cancel_on_drop: false,
            taken: false,
        }
    }

    /// Gives the name of the task.
    pub fn name(&self) -> Name {
        self.job.name()
    }

    /// Tells whether the outcome is there.
    pub fn is_finished(&self) -> bool {
        self.taken || self.job.has_ended()
    }

    /// Tells the task to stop, with a cause; the first one wins.
    ///
    /// While it is queued it never starts, and its place is free at once. While it runs, an async
    /// one is dropped at its next await; a blocking one can only be asked: it sees the cause in
    /// [`context::cancel`](crate::context::cancel), and the ticket tells what it then returns.
    pub fn cancel(&self, cause: Cause) {
        if !self.shared.withdraw(self.tier, self.number, &cause) {
            self.job.tell(cause);
        }
    }

    /// Cancels the task, with [`Cause::ClientGone`], when this is dropped before the outcome was
    /// taken.
    pub fn cancel_on_drop(mut self) -> Self {
        self.cancel_on_drop = true;
        self
    }
}

impl<T, E> Future for Ticket<T, E> {
    type Output = Result<T, TicketError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.taken, "a ticket gives its outcome once");
        let polled = self.job.poll_end(cx);
        self.taken = polled.is_ready();
        polled
    }
}

impl<T, E> Drop for Ticket<T, E> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        self.job.detach();
        if self.cancel_on_drop {
            self.cancel(Cause::ClientGone);
        }
    }
}

impl<T, E> fmt::Debug for Ticket<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("name", &self.name())
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// Why a ticket gave no value.
///
/// `Display` of a failure is that of the error itself; `Display` of a panic is fit for clients
/// and does not show its message.
#[derive(Debug)]
pub enum TicketError<E = Infallible> {
    /// It ran, and returned this error.
    Failed(E),
    /// It panicked.
    Panicked(Panic),
    /// It was told to stop: by its ticket, its deadline, the stop of the pool, or the end of the
    /// runtime ([`Cause::Dropped`]).
    Cancelled(Cause),
    /// It was never accepted, and has not run.
    Rejected(Rejected),
}

impl<E> TicketError<E> {
    /// Gives the error of the task, if it is one.
    pub fn failed(&self) -> Option<&E> {
        match self {
            TicketError::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Gives the panic, if it is one.
    pub fn panic(&self) -> Option<&Panic> {
        match self {
            TicketError::Panicked(panic) => Some(panic),
            _ => None,
        }
    }

    /// Gives the cause of the cancellation, if it is one.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            TicketError::Cancelled(cause) => Some(cause),
            _ => None,
        }
    }

    /// Gives the rejection, if it is one.
    pub fn rejected(&self) -> Option<&Rejected> {
        match self {
            TicketError::Rejected(rejected) => Some(rejected),
            _ => None,
        }
    }
}

impl<E> From<Rejected> for TicketError<E> {
    fn from(rejected: Rejected) -> Self {
        TicketError::Rejected(rejected)
    }
}

impl<E: fmt::Display> fmt::Display for TicketError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TicketError::Failed(error) => fmt::Display::fmt(error, f),
            TicketError::Panicked(panic) => fmt::Display::fmt(panic, f),
            TicketError::Cancelled(cause) => write!(f, "cancelled: {cause}"),
            TicketError::Rejected(rejected) => fmt::Display::fmt(rejected, f),
        }
    }
}

// `E` need not be an `Error`, because a boxed error is none; so the source of a failure cannot
// be given here. `failed` has it.
impl<E: fmt::Display + fmt::Debug> Error for TicketError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            TicketError::Cancelled(Cause::Other(error)) => Some(error.as_ref()),
            _ => None,
        }
    }
}

/// Says that a pool did not accept a task, which was dropped without having run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("pool {pool} {reason}")]
pub struct Rejected {
    pool: Name,
    reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    #[error("has {queue_max} tasks of {tier} queued, which is its bound")]
    Full { tier: Tier, queue_max: usize },
    #[error("had no room for a task of {tier} until the deadline")]
    Late { tier: Tier },
    #[error("is closed")]
    Closed,
}

impl Rejected {
    pub(super) fn new(pool: Name, reason: Reason) -> Self {
        Self { pool, reason }
    }

    /// Tells whether the queue was full; a later attempt may be accepted.
    pub fn is_full(&self) -> bool {
        matches!(self.reason, Reason::Full { .. })
    }

    /// Tells whether the deadline came before there was room.
    pub fn is_late(&self) -> bool {
        matches!(self.reason, Reason::Late { .. })
    }

    /// Tells whether the pool drains, was stopped, or lost its runtime; it accepts nothing any
    /// more.
    pub fn is_closed(&self) -> bool {
        matches!(self.reason, Reason::Closed)
    }

    /// Tells whether there was more work than the pool could take.
    pub fn is_overload(&self) -> bool {
        self.is_full() || self.is_late()
    }
}
