use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use steadfast_core::context::Tier;

use super::ghost::Ghost;
use super::shared::Shared;
use crate::Hold;

/// The right to be in flight; given back when it is dropped.
pub struct Permit {
    shared: Arc<Shared>,
    tier: Tier,
    since: u64,
    answered: Answered,
}

/// What a request holds of an admission.
#[derive(Debug)]
pub enum Held {
    Permit(Permit),
    /// A shadow that waits or holds a permit in its place.
    Ghost(Ghost),
}

impl Hold for Held {}

impl Held {
    pub(crate) fn answered(&mut self, status: StatusCode) {
        match self {
            Self::Permit(permit) => permit.answered(status),
            Self::Ghost(ghost) => ghost.answered(status),
        }
    }
}

/// What the limit can learn from a request.
enum Answered {
    /// Nothing: it was given up, which says nothing about load.
    No,
    Served,
    /// Something below had too much.
    Dropped,
}

impl Permit {
    pub(super) fn new(shared: Arc<Shared>, tier: Tier, since: u64) -> Self {
        Self {
            shared,
            tier,
            since,
            answered: Answered::No,
        }
    }

    pub(super) fn answered(&mut self, status: StatusCode) {
        self.answered = match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Answered::Dropped,
            _ => Answered::Served,
        };
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        match self.answered {
            Answered::No => {}
            Answered::Served => self.shared.learn(self.since, false),
            Answered::Dropped => self.shared.learn(self.since, true),
        }
        self.shared.leave(self.tier);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.tier).finish()
    }
}
