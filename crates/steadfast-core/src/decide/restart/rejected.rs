//! Why a request to a group is rejected.

use super::child::ChildId;
use super::supervision::Supervision;

/// Rejects a request to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Rejected(#[from] pub(super) Reason);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    #[error("group is not started yet")]
    Idle,
    #[error("group was started before")]
    Started,
    #[error("group is ending or has ended")]
    Ended,
    #[error("group has no child {0}")]
    Unknown(ChildId),
    #[error("child {0} lives or is about to be started")]
    Live(ChildId),
    #[error("group has {bound} children already, the most it may have", bound = Supervision::MAX_CHILDREN)]
    Full,
    #[error("permanent child cannot be significant, it is never given up")]
    SignificantPermanent,
    #[error("significant child needs a group with automatic shutdown")]
    SignificantNever,
}

// === impl Rejected ===

impl Rejected {
    /// Returns whether the group ends or has ended: no request will ever be accepted again.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.0 == Reason::Ended
    }

    /// Returns whether there is no such child (any more).
    #[must_use]
    pub fn is_unknown_child(&self) -> bool {
        matches!(self.0, Reason::Unknown(_))
    }

    /// Returns whether the child to be started lives or is about to be: nothing is left to do.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.0, Reason::Live(_))
    }
}
