use std::error::Error;
use std::fmt;

use crate::cancel::Cause;
use crate::panic::{self, Panic};

/// How a scope's body ended, as its cleanups see it and may change it.
#[derive(Debug)]
pub enum Outcome<T, E> {
    /// It returned a value.
    Ok(T),
    /// It returned an error.
    Err(E),
    /// It panicked, or a cleanup did. Turning this into another variant *is* recovering.
    Panicked(Panic),
    /// It was told to stop, or its future was dropped. In the latter case nobody waits for an
    /// answer, and changing the outcome reaches only the report.
    Cancelled(Cause),
}

/// The four ways to end, without the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A value.
    Ok,
    /// An error.
    Err,
    /// A panic.
    Panicked,
    /// Told to stop, or dropped.
    Cancelled,
}

impl Verdict {
    /// Gives a short stable word for labels and log fields.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Err => "err",
            Verdict::Panicked => "panicked",
            Verdict::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<T, E> Outcome<T, E> {
    /// Gives the way it ended, without the value.
    pub fn verdict(&self) -> Verdict {
        match self {
            Outcome::Ok(_) => Verdict::Ok,
            Outcome::Err(_) => Verdict::Err,
            Outcome::Panicked(_) => Verdict::Panicked,
            Outcome::Cancelled(_) => Verdict::Cancelled,
        }
    }

    /// Says what the panic says, or the error, where `text` knows.
    pub(super) fn reason(&self, text: impl FnOnce(&E) -> Option<String>) -> Option<String> {
        match self {
            Outcome::Ok(_) | Outcome::Cancelled(_) => None,
            Outcome::Err(error) => text(error),
            Outcome::Panicked(panic) => Some(match panic.location() {
                Some(place) => format!("{} [{place}]", panic.message()),
                None => panic.message().to_owned(),
            }),
        }
    }

    /// Tells whether the body returned a value.
    pub fn is_ok(&self) -> bool {
        matches!(self, Outcome::Ok(_))
    }

    /// Gives the panic, if it ended by one.
    pub fn panic(&self) -> Option<&Panic> {
        match self {
            Outcome::Panicked(panic) => Some(panic),
            _ => None,
        }
    }

    /// Turns it into what the caller of a scope gets.
    ///
    /// # Errors
    /// Every variant but [`Outcome::Ok`].
    pub fn into_result(self) -> Result<T, ScopeError<E>> {
        match self {
            Outcome::Ok(value) => Ok(value),
            Outcome::Err(error) => Err(ScopeError::Failed(error)),
            Outcome::Panicked(panic) => Err(ScopeError::Panicked(panic)),
            Outcome::Cancelled(cause) => Err(ScopeError::Cancelled(cause)),
        }
    }

    /// Puts a cancellation in place of a value that came too late.
    pub(crate) fn cancelled(&mut self, cause: Cause) {
        panic::drop_contained(std::mem::replace(self, Outcome::Cancelled(cause)));
    }

    /// Makes `panic` the primary one; an older panic stays attached, any other outcome is dropped.
    pub(crate) fn panicked(&mut self, mut panic: Panic) {
        // The old value's own drop may panic too, and must not take this panic's place.
        match std::mem::replace(self, Outcome::Cancelled(Cause::ScopeEnded)) {
            Outcome::Panicked(older) => panic.supersede(older),
            other => panic::drop_contained(other),
        }
        *self = Outcome::Panicked(panic);
    }
}

/// Why a scope gave no value.
///
/// `Display` of a failure is that of the error itself, with `{:#}` passed on; `Display` of a
/// panic is fit for clients and does not show its message.
#[derive(Debug)]
pub enum ScopeError<E> {
    /// The body, or the last cleanup that changed the outcome, gave this error.
    Failed(E),
    /// The body or a cleanup panicked.
    Panicked(Panic),
    /// The scope was told to stop.
    Cancelled(Cause),
}

impl<E> ScopeError<E> {
    /// Gives the error of the body, if it is one.
    pub fn failed(&self) -> Option<&E> {
        match self {
            ScopeError::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Gives the panic, if it is one.
    pub fn panic(&self) -> Option<&Panic> {
        match self {
            ScopeError::Panicked(panic) => Some(panic),
            _ => None,
        }
    }

    /// Gives the cause of the cancellation, if it is one.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            ScopeError::Cancelled(cause) => Some(cause),
            _ => None,
        }
    }

    /// Gives the way it ended, without the value; never [`Verdict::Ok`].
    pub fn verdict(&self) -> Verdict {
        match self {
            ScopeError::Failed(_) => Verdict::Err,
            ScopeError::Panicked(_) => Verdict::Panicked,
            ScopeError::Cancelled(_) => Verdict::Cancelled,
        }
    }

    /// Flattens it into the error type of the body, where that can hold a panic and a cause, as
    /// a boxed error can.
    pub fn into_error(self) -> E
    where
        E: From<Panic> + From<Cause>,
    {
        match self {
            ScopeError::Failed(error) => error,
            ScopeError::Panicked(panic) => panic.into(),
            ScopeError::Cancelled(cause) => cause.into(),
        }
    }
}

impl<E: fmt::Display> fmt::Display for ScopeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScopeError::Failed(error) => fmt::Display::fmt(error, f),
            ScopeError::Panicked(panic) => fmt::Display::fmt(panic, f),
            ScopeError::Cancelled(cause) => write!(f, "cancelled: {cause}"),
        }
    }
}

// `E` need not be an `Error`, because a boxed error is none; so the source of a failure cannot
// be given here. `failed` has it.
impl<E: fmt::Display + fmt::Debug> Error for ScopeError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ScopeError::Cancelled(Cause::Other(error)) => Some(error.as_ref()),
            _ => None,
        }
    }
}
