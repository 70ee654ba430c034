use std::fmt;

use http::StatusCode;

/// Why a request was not served, as far as it can be compared.
///
/// Each has a status, and a problem type `urn:steadfast:problem:<name>` that clients may match on;
/// both are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// More requests of one client than its rate allows: `429`.
    RateLimited,
    /// As many are in flight and waiting as may be: `503`.
    Overloaded,
    /// It waited, and one that goes first needed its place, of a higher tier or newer: `503`.
    Displaced,
    /// It waited as long as a request may: `503`.
    WaitedTooLong,
    /// What is before it takes longer than its deadline: `503`.
    CannotFinish,
    /// Its deadline had passed before it came: `504`.
    DeadlinePassed,
    /// The handler, or the dependency, did not answer in time: `504`.
    TimedOut,
    /// The dependency fails, and is left alone for a while: `503`.
    BreakerOpen,
    /// The service is about to stop: `503`.
    Draining,
}

impl Reason {
    const ALL: [Self; 9] = [
        Self::RateLimited,
        Self::Overloaded,
        Self::Displaced,
        Self::WaitedTooLong,
        Self::CannotFinish,
        Self::DeadlinePassed,
        Self::TimedOut,
        Self::BreakerOpen,
        Self::Draining,
    ];

    /// Gives the reason of that [name](Self::as_str).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// Gives the last part of the problem type, which also is the label of the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate-limited",
            Self::Overloaded => "overloaded",
            Self::Displaced => "displaced",
            Self::WaitedTooLong => "waited-too-long",
            Self::CannotFinish => "cannot-finish",
            Self::DeadlinePassed => "deadline-passed",
            Self::TimedOut => "timed-out",
            Self::BreakerOpen => "breaker-open",
            Self::Draining => "draining",
        }
    }

    /// Gives the status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::DeadlinePassed | Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Tells whether the request has surely done nothing, so that another attempt, or another
    /// instance, may serve it. Only one that [timed out](Self::TimedOut) may have done something. Of a call with several
    /// attempts it is that of the last one; an answer of one before it, such as a `502`, may stand for something done.
    pub fn is_unsent(self) -> bool {
        self != Self::TimedOut
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::RateLimited => "too many requests from one client",
            Self::Overloaded => "more requests than can be served",
            Self::Displaced => "others came first while it waited",
            Self::WaitedTooLong => "no turn came in time",
            Self::CannotFinish => "the deadline is too near",
            Self::DeadlinePassed => "the deadline has passed",
            Self::TimedOut => "no answer in time",
            Self::BreakerOpen => "the dependency is failing",
            Self::Draining => "the service is stopping",
        }
    }

    /// What gRPC calls it: resource exhausted, deadline exceeded, or unavailable.
    pub(super) fn grpc(self) -> u8 {
        match self {
            Self::RateLimited => 8,
            Self::DeadlinePassed | Self::TimedOut => 4,
            _ => 14,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        for reason in Reason::ALL {
            assert_eq!(Reason::named(reason.as_str()), Some(reason));
        }
        assert_eq!(Reason::named("overload"), None);
    }
}
