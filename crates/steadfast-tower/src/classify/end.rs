use std::time::Duration;

use steadfast_core::decide::budget::Failure;

use crate::{Reason, Rejection};

/// Says how a call ended; see the [module](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallEnd {
    kind: Kind,
    retry_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Success,
    Failed(Failure),
    Rejected(Reason),
    /// Its caller gave it too little time: it may have been sent, and says nothing about the
    /// dependency.
    Hurried,
}

impl CallEnd {
    /// The dependency has done its part, also by saying that the request is wrong.
    pub fn success() -> Self {
        Self::of(Kind::Success)
    }

    /// The dependency has failed, or could not be reached.
    pub fn failed(failure: Failure) -> Self {
        Self::of(Kind::Failed(failure))
    }

    /// One of our own layers, between the caller and the dependency, has said no. One that waited
    /// in vain for the dependency has seen it fail, unless the caller gave it less than half of the
    /// time that the [timeout](crate::timeout) would have.
    pub fn rejected(rejection: &Rejection) -> Self {
        let reason = rejection.reason();
        let kind = if reason.is_unsent() {
            Kind::Rejected(reason)
        } else if rejection.is_hurried() {
            Kind::Hurried
        } else {
            Kind::Failed(Failure::Unknown)
        };
        Self {
            kind,
            retry_after: rejection.retry_after(),
        }
    }

    /// Adds after which time another attempt makes sense.
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Tells whether the dependency has done its part.
    pub fn is_success(&self) -> bool {
        self.kind == Kind::Success
    }

    /// Tells whether the call speaks against the dependency. A rejection does not.
    pub fn is_failure(&self) -> bool {
        matches!(self.kind, Kind::Failed(_))
    }

    /// Gives why one of our own layers said no, if one did.
    pub fn rejection(&self) -> Option<Reason> {
        match self.kind {
            Kind::Rejected(reason) => Some(reason),
            Kind::Hurried => Some(Reason::TimedOut),
            _ => None,
        }
    }

    /// Gives what is known about a call that is no success, as far as its repetition depends on
    /// it: a rejected one was never sent, unless it timed out.
    pub fn failure(&self) -> Option<Failure> {
        match self.kind {
            Kind::Success => None,
            Kind::Failed(failure) => Some(failure),
            Kind::Rejected(_) => Some(Failure::Unsent),
            Kind::Hurried => Some(Failure::Unknown),
        }
    }

    /// Gives after which time another attempt makes sense.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The same, for a call that was proven unsent by whoever made it.
    pub(crate) fn unsent(self) -> Self {
        Self {
            kind: Kind::Failed(Failure::Unsent),
            ..self
        }
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            retry_after: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_of_ours_speaks_against_nobody_and_was_never_sent() {
        let after = Duration::from_secs(3);
        let rejection = Rejection::new(Reason::BreakerOpen, "p").with_retry_after(after);

        let end = CallEnd::rejected(&rejection);

        assert!(!end.is_success() && !end.is_failure());
        assert_eq!(end.rejection(), Some(Reason::BreakerOpen));
        assert_eq!(end.failure(), Some(Failure::Unsent));
        assert_eq!(end.retry_after(), Some(after));
    }

    #[test]
    fn a_call_whose_caller_was_in_a_hurry_may_have_been_sent_and_speaks_against_nobody() {
        let end = CallEnd::rejected(&Rejection::new(Reason::TimedOut, "p").hurried());

        assert!(!end.is_success() && !end.is_failure());
        assert_eq!(end.rejection(), Some(Reason::TimedOut));
        assert_eq!(end.failure(), Some(Failure::Unknown));
    }

    #[test]
    fn a_call_that_timed_out_was_sent_and_has_failed() {
        let end = CallEnd::rejected(&Rejection::new(Reason::TimedOut, "p"));

        assert_eq!(end, CallEnd::failed(Failure::Unknown));
        assert!(end.is_failure());
    }
}
