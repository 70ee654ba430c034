//! Why a group failed, and why a request to it was not fulfilled.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::end::ChildEnd;
use crate::cancel::Cause;
use crate::context::Name;
use crate::decide::restart::End;
use crate::decide::restart::{InvalidRules, Rejected};

/// Why a group failed.
///
/// The child's own panic or error is the [`source`](Error::source).
#[derive(Debug, Clone)]
pub struct GroupError {
    pub(super) group: Name,
    pub(super) why: GroupFailure,
}

#[derive(Debug, Clone)]
pub(super) enum GroupFailure {
    Invalid {
        child: Name,
        rules: InvalidRules,
    },
    Rejected {
        child: Name,
        rejected: Rejected,
    },
    StartFailed {
        child: Name,
        end: Option<ChildEnd>,
    },
    TooManyRestarts {
        child: Name,
        end: Option<ChildEnd>,
        restarts: u32,
        within: Duration,
    },
    Stuck {
        child: Name,
    },
    Aborted(Cause),
    Stopped(Cause),
}

/// Why a request about one child was not fulfilled.
///
/// The child's own panic or error is the [`source`](Error::source).
#[derive(Debug, Clone)]
pub struct RequestError {
    pub(super) why: Unfulfilled,
}

#[derive(Debug, Clone)]
pub(super) enum Unfulfilled {
    Invalid(InvalidRules),
    Rejected(Rejected),
    Temporary,
    NotReady(ChildEnd),
    NotStarted,
    WrittenOff,
    Ended,
}

// === impl GroupError ===

impl GroupError {
    /// Gives the name of the group.
    pub fn group(&self) -> Name {
        self.group
    }

    /// Gives the name of the child that was the reason; `None` when the whole group was aborted.
    pub fn child(&self) -> Option<Name> {
        match &self.why {
            GroupFailure::Invalid { child, .. }
            | GroupFailure::Rejected { child, .. }
            | GroupFailure::StartFailed { child, .. }
            | GroupFailure::TooManyRestarts { child, .. }
            | GroupFailure::Stuck { child } => Some(*child),
            GroupFailure::Aborted(_) | GroupFailure::Stopped(_) => None,
        }
    }

    /// Gives how that child ended, if its end was the reason.
    pub fn child_end(&self) -> Option<&ChildEnd> {
        match &self.why {
            GroupFailure::StartFailed { end, .. } | GroupFailure::TooManyRestarts { end, .. } => {
                end.as_ref()
            }
            GroupFailure::Invalid { .. }
            | GroupFailure::Rejected { .. }
            | GroupFailure::Stuck { .. }
            | GroupFailure::Aborted(_)
            | GroupFailure::Stopped(_) => None,
        }
    }

    /// Tells whether a description was refused: trying again with the same fails again.
    pub fn is_invalid(&self) -> bool {
        matches!(
            self.why,
            GroupFailure::Invalid { .. } | GroupFailure::Rejected { .. }
        )
    }

    /// Tells whether a child did not get ready when the group started.
    pub fn is_start_failed(&self) -> bool {
        matches!(self.why, GroupFailure::StartFailed { .. })
    }

    /// Tells whether a child would have to be restarted once more than the intensity allows.
    pub fn is_too_many_restarts(&self) -> bool {
        matches!(self.why, GroupFailure::TooManyRestarts { .. })
    }

    /// Tells whether a child could not be ended, so that it could not be restarted. It may still
    /// live: the process should end.
    pub fn is_stuck(&self) -> bool {
        matches!(self.why, GroupFailure::Stuck { .. })
    }

    /// Tells whether the group was taken down without an orderly stop: its runtime was shut down,
    /// or the group around it aborted it.
    pub fn is_aborted(&self) -> bool {
        matches!(self.why, GroupFailure::Aborted(_))
    }

    /// Tells whether the group was stopped while it started, in good order: not all of its children
    /// have been ready.
    pub fn is_stopped(&self) -> bool {
        matches!(self.why, GroupFailure::Stopped(_))
    }
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group `{}`: ", self.group)?;
        match &self.why {
            GroupFailure::Invalid { child, .. } | GroupFailure::Rejected { child, .. } => {
                write!(f, "child `{child}` was refused")
            }
            GroupFailure::StartFailed { child, end: None } => {
                write!(
                    f,
                    "child `{child}` did not get ready and could not be ended"
                )
            }
            GroupFailure::StartFailed {
                child,
                end: Some(end),
            } => match (end.kind(), end.cause()) {
                (End::NotReady, Some(Cause::Timeout(limit))) => write!(
                    f,
                    "child `{child}` was not ready within {limit:?}; does it call `ready`?"
                ),
                _ => write!(f, "child `{child}` ended before it was ready"),
            },
            GroupFailure::TooManyRestarts {
                child,
                restarts,
                within,
                ..
            } => write!(
                f,
                "child `{child}` needs more than {restarts} restarts within {within:?}"
            ),
            GroupFailure::Stuck { child } => write!(
                f,
                "child `{child}`, or one inside of it, was aborted, did not end, and so cannot be restarted"
            ),
            GroupFailure::Aborted(cause) => write!(f, "aborted: {cause}"),
            GroupFailure::Stopped(cause) => {
                write!(f, "stopped before all its children were ready: {cause}")
            }
        }
    }
}

impl Error for GroupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.why {
            GroupFailure::Invalid { rules, .. } => Some(rules),
            GroupFailure::Rejected { rejected, .. } => Some(rejected),
            GroupFailure::StartFailed { end, .. } | GroupFailure::TooManyRestarts { end, .. } => {
                end.as_ref()?.as_source()
            }
            GroupFailure::Stuck { .. } | GroupFailure::Aborted(_) | GroupFailure::Stopped(_) => {
                None
            }
        }
    }
}

// === impl RequestError ===

impl RequestError {
    /// Tells whether the group ends or has ended: no request will be fulfilled any more.
    pub fn is_ended(&self) -> bool {
        match &self.why {
            Unfulfilled::Ended => true,
            Unfulfilled::Rejected(rejected) => rejected.is_ended(),
            _ => false,
        }
    }

    /// Tells whether there is no such child (any more).
    pub fn is_unknown_child(&self) -> bool {
        matches!(&self.why, Unfulfilled::Rejected(rejected) if rejected.is_unknown_child())
    }

    /// Tells whether the child to be started lives or is about to be: nothing is left to do.
    pub fn is_live(&self) -> bool {
        matches!(&self.why, Unfulfilled::Rejected(rejected) if rejected.is_live())
    }

    /// Tells whether the child ended before it was ready.
    pub fn is_start_failed(&self) -> bool {
        matches!(self.why, Unfulfilled::NotReady(_))
    }

    /// Tells whether the child was aborted and did not end; it may still live, and is not started
    /// again before it has ended.
    pub fn is_written_off(&self) -> bool {
        matches!(self.why, Unfulfilled::WrittenOff)
    }

    /// Gives how the child ended instead of getting ready.
    pub fn child_end(&self) -> Option<&ChildEnd> {
        match &self.why {
            Unfulfilled::NotReady(end) => Some(end),
            _ => None,
        }
    }
}

impl From<Unfulfilled> for RequestError {
    fn from(why: Unfulfilled) -> Self {
        Self { why }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.why {
            Unfulfilled::Invalid(_) => "terms of the child were refused",
            Unfulfilled::Rejected(_) => "group rejected the request",
            Unfulfilled::Temporary => "temporary child is removed when it ends, never restarted",
            Unfulfilled::NotReady(_) => "child ended before it was ready",
            Unfulfilled::NotStarted => "child was stopped before it was started",
            Unfulfilled::WrittenOff => "child was aborted and did not end in time",
            Unfulfilled::Ended => "group is ending or has ended",
        })
    }
}

impl Error for RequestError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.why {
            Unfulfilled::Invalid(rules) => Some(rules),
            Unfulfilled::Rejected(rejected) => Some(rejected),
            Unfulfilled::NotReady(end) => end.as_source(),
            Unfulfilled::Temporary
            | Unfulfilled::NotStarted
            | Unfulfilled::WrittenOff
            | Unfulfilled::Ended => None,
        }
    }
}
