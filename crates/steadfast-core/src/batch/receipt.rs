use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use super::WriteError;
use crate::context::Name;

/// The answer for one row; await it to know that it is committed.
///
/// Dropping it loses the answer and not the row.
///
/// # Errors
/// [`NotWritten`].
///
/// # Panics
/// When polled again after its end.
///
/// # Cancel safety
/// Awaiting `&mut Receipt` may be dropped and taken up again.
#[derive(Debug)]
pub struct Receipt {
    answer: oneshot::Receiver<Result<(), WriteError>>,
}

impl Receipt {
    pub(super) fn new() -> (oneshot::Sender<Result<(), WriteError>>, Self) {
        let (answer, receipt) = oneshot::channel();
        (answer, Self { answer: receipt })
    }
}

impl Future for Receipt {
    type Output = Result<(), NotWritten>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.answer).poll(cx)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(NotWritten(Why::Dead(error))),
            Err(_) => Err(NotWritten(Why::Left)),
        })
    }
}

/// Says that a row was not written, as far as is known.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct NotWritten(Why);

#[derive(Debug, Clone, thiserror::Error)]
enum Why {
    #[error(transparent)]
    Dead(WriteError),
    #[error("the writer ended before the row was known to be written")]
    Left,
}

impl NotWritten {
    /// Gives the error, if the row itself cannot be written; sending it again is of no use, unless the error
    /// [says so](WriteError::is_retryable): one that took too long again and again.
    pub fn dead(&self) -> Option<&WriteError> {
        match &self.0 {
            Why::Dead(error) => Some(error),
            Why::Left => None,
        }
    }

    /// Tells whether the writer ended first: by the deadline of its drain, or with its runtime.
    /// If its transaction was on its way at that moment, the row may be there.
    pub fn is_left(&self) -> bool {
        matches!(self.0, Why::Left)
    }
}

/// Says that a row was not taken, and gives it back.
pub struct Rejected<T> {
    pub(super) row: T,
    pub(super) writer: Name,
    pub(super) reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Full,
    Late,
    Closed,
}

impl<T> Rejected<T> {
    /// Gives the row back.
    pub fn into_row(self) -> T {
        self.row
    }

    /// Tells whether there was no room; later there may be.
    pub fn is_overload(&self) -> bool {
        matches!(self.reason, Reason::Full | Reason::Late)
    }

    /// Tells whether the writer drains, or has ended; it takes nothing any more.
    pub fn is_closed(&self) -> bool {
        self.reason == Reason::Closed
    }
}

impl Reason {
    pub(super) const ALL: [Reason; 3] = [Reason::Full, Reason::Late, Reason::Closed];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Reason::Full => "full",
            Reason::Late => "late",
            Reason::Closed => "closed",
        }
    }
}

impl<T> fmt::Display for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch writer {} ", self.writer)?;
        f.write_str(match self.reason {
            Reason::Full => "has its queue full",
            Reason::Late => "had no room until the deadline",
            Reason::Closed => "is closed",
        })
    }
}

/// Without the row, which may be large or secret.
impl<T> fmt::Debug for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("writer", &self.writer)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl<T> std::error::Error for Rejected<T> {}
