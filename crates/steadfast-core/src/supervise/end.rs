//! How a child ended, and how a group did.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::contained::bounded_text;
use super::error::GroupError;
use crate::cancel::Cause;
use crate::clock::Instant;
use crate::context::{Name, TraceId};
use crate::decide::restart::End;
use crate::panic::{Contained, Panic};
use crate::scope::{BoxError, ScopeError};

/// How one life of a child ended; a cheap clone.
///
/// `Display` is for people on call: it shows the message of a panic or an error.
#[derive(Clone)]
pub struct ChildEnd {
    facts: Arc<Facts>,
}

pub(super) struct Facts {
    pub(super) kind: End,
    pub(super) run: u64,
    pub(super) at: Instant,
    pub(super) lived: Duration,
    pub(super) trace_id: TraceId,
    pub(super) ended: Ended,
}

/// What the life of a child came to, before anybody judges it.
#[derive(Clone)]
pub(super) enum Ended {
    Done,
    Failed { failure: Failure, normal: bool },
    Panicked(Panic),
    Cancelled(Cause),
}

/// An error of a child: of a type that is not ours, so it is looked at once and kept away from
/// everybody else.
#[derive(Clone)]
pub(super) struct Failure {
    error: Contained<Arc<dyn Error + Send + Sync>>,
    text: Arc<str>,
}

/// Why a group ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum GroupEnd {
    /// It was asked to, for this cause.
    Stopped(Cause),
    /// It stopped itself in good order, since its significant children were done; this was the
    /// last of them.
    Done {
        /// The child whose end was the reason.
        child: Name,
    },
    /// It could not go on; whoever depends on it must act.
    Failed(GroupError),
}

// === impl ChildEnd ===

impl ChildEnd {
    pub(super) fn new(facts: Facts) -> Self {
        Self {
            facts: Arc::new(facts),
        }
    }

    /// Gives the kind of end, by which it was judged.
    pub fn kind(&self) -> End {
        self.facts.kind
    }

    /// Gives which of the child's lives it was, counted from 1.
    pub fn run(&self) -> u64 {
        self.facts.run
    }

    /// Gives the point in time at which nothing of it was left.
    pub fn at(&self) -> Instant {
        self.facts.at
    }

    /// Gives how long it had lived, from its start to the end of its cleanups.
    pub fn lived(&self) -> Duration {
        self.facts.lived
    }

    /// Gives the trace id that all work of this life had, unless the work chose another one.
    pub fn trace_id(&self) -> TraceId {
        self.facts.trace_id
    }

    /// Gives the panic, if it panicked, or its factory did.
    pub fn panic(&self) -> Option<&Panic> {
        match &self.facts.ended {
            Ended::Panicked(panic) => Some(panic),
            _ => None,
        }
    }

    /// Gives the error, if it returned one.
    pub fn error(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        match &self.facts.ended {
            Ended::Failed { failure, .. } => Some(&**failure.error.get()),
            _ => None,
        }
    }

    /// Gives the cause, if it was cut short.
    pub fn cause(&self) -> Option<&Cause> {
        match &self.facts.ended {
            Ended::Cancelled(cause) => Some(cause),
            _ => None,
        }
    }

    /// Gives the panic or the error, to be the source of another one.
    pub(super) fn as_source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.facts.ended {
            Ended::Done => None,
            Ended::Failed { failure, .. } => Some(&**failure.error.get()),
            Ended::Panicked(panic) => Some(panic),
            Ended::Cancelled(cause) => Some(cause),
        }
    }
}

impl fmt::Display for ChildEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(self.facts.kind))?;
        match &self.facts.ended {
            Ended::Done => Ok(()),
            Ended::Failed { failure, .. } => write!(f, ": {}", failure.text),
            Ended::Panicked(panic) => write!(f, ": {}", panic.describe()),
            Ended::Cancelled(cause) => write!(f, ": {cause}"),
        }
    }
}

impl fmt::Debug for ChildEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChildEnd(run {}, {self})", self.run())
    }
}

/// Gives a short stable word for labels and log fields.
pub(super) fn word(end: End) -> &'static str {
    match end {
        End::Normal => "done",
        End::Stopped => "stopped",
        End::Failed => "failed",
        End::Panicked => "panicked",
        End::Cancelled => "cancelled",
        End::NotReady => "not_ready",
    }
}

// === impl Ended ===

impl Ended {
    /// Takes what a child's scope came to. `is_normal` is the user's judgment of its errors.
    pub(super) fn of(
        outcome: Result<(), ScopeError<BoxError>>,
        is_normal: impl FnOnce(&(dyn Error + 'static)) -> Result<bool, Panic>,
    ) -> Self {
        match outcome {
            Ok(()) => Self::Done,
            Err(ScopeError::Panicked(panic)) => Self::Panicked(panic),
            Err(ScopeError::Cancelled(cause)) => Self::Cancelled(cause),
            Err(ScopeError::Failed(error)) => {
                let failure = Failure::new(error);
                match is_normal(&**failure.error.get()) {
                    Ok(normal) => Self::Failed { failure, normal },
                    Err(panic) => Self::Panicked(panic),
                }
            }
        }
    }

    /// Says what the machine is told; a child that was asked to stop has not just ended.
    pub(super) fn kind(&self, asked: bool) -> End {
        match self {
            Self::Done | Self::Failed { normal: true, .. } if asked => End::Stopped,
            Self::Done | Self::Failed { normal: true, .. } => End::Normal,
            Self::Failed { normal: false, .. } => End::Failed,
            Self::Panicked(_) => End::Panicked,
            Self::Cancelled(_) => End::Cancelled,
        }
    }
}

impl Failure {
    fn new(error: BoxError) -> Self {
        let error: Arc<dyn Error + Send + Sync> = error.into();
        let text = bounded_text(&*error).into();
        Self {
            error: Contained::new(error),
            text,
        }
    }
}

// === impl GroupEnd ===

impl GroupEnd {
    /// Tells whether the group failed.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// Gives the failure as an error, so that `?` passes it on: to a main function, whose exit
    /// code it becomes, or to a group further out.
    ///
    /// # Errors
    /// [`GroupEnd::Failed`]; the other two are ends in good order.
    pub fn into_result(self) -> Result<(), GroupError> {
        match self {
            Self::Stopped(_) | Self::Done { .. } => Ok(()),
            Self::Failed(error) => Err(error),
        }
    }

    /// Gives a short stable word for labels and log fields.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Stopped(_) => "stopped",
            Self::Done { .. } => "done",
            Self::Failed(_) => "failed",
        }
    }
}

impl fmt::Display for GroupEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(cause) => write!(f, "stopped: {cause}"),
            Self::Done { child } => write!(f, "done, with `{child}` the last"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}
