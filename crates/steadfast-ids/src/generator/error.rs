//! Why there is no id now.

use std::time::Duration;

use steadfast_core::Timestamp;

/// Says why there is no id now.
///
/// | | passes | what to do |
/// |---|---|---|
/// | ahead of the time | within the lead | come back after [`retry_after`](Self::retry_after) |
/// | [fenced](Self::is_fenced) | when the store gives a lease again | the same, with ids from elsewhere meanwhile |
/// | [end of life](Self::is_end_of_life) | never | move to a layout with more bits of time |
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct NextError(#[from] pub(crate) No);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum No {
    #[error("the ids are as far ahead of the time as they may; there are more in {0:?}")]
    Ahead(Duration),
    #[error(
        "the lease of the worker id is over, and the store has given no other; it is asked again in {0:?}"
    )]
    #[cfg(feature = "sql")]
    Fenced(Duration),
    #[error("the worker id was given back")]
    Closed,
    #[error(transparent)]
    EndOfLife(#[from] EndOfLife),
}

/// Says that the time of a layout has no more bits: it never gives an id again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the layout has no ids after {} ms since 1970: move to one with more bits of time", .at.unix_millis())]
pub struct EndOfLife {
    /// When it ended.
    pub at: Timestamp,
}

// === impl NextError ===

impl NextError {
    /// Tells whether the same call works later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retry_after().is_some()
    }

    /// Tells when to come back; `None` if there is never an id again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0 {
            No::Ahead(wait) => Some(wait),
            #[cfg(feature = "sql")]
            No::Fenced(wait) => Some(wait),
            No::Closed | No::EndOfLife(_) => None,
        }
    }

    /// Tells whether the worker id may be somebody else's by now: its lease is over, since the store was out of
    /// reach or this process stood still for longer than the lease.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        #[cfg(feature = "sql")]
        return matches!(self.0, No::Fenced(_));
        #[cfg(not(feature = "sql"))]
        false
    }

    /// Tells whether the layout has no more ids.
    #[must_use]
    pub fn is_end_of_life(&self) -> bool {
        matches!(self.0, No::EndOfLife(_))
    }
}
