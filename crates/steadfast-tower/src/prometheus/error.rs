use std::fmt;

use http::StatusCode;
use steadfast_core::BoxError;

use super::{ANSWER_BYTES_MAX, ASK_TIME};

/// Refuses an address that is not that of a Prometheus.
///
/// Trying again with the same address fails again.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "{address:?} is no address of a Prometheus: write \"http://HOST:PORT\", with a path if it has one"
)]
pub struct InvalidAddress {
    pub(super) address: String,
}

/// Says why there is no value.
#[derive(Debug)]
pub struct AskError(pub(super) Why);

#[derive(Debug)]
pub(super) enum Why {
    /// No answer, or half of one.
    Unreachable(BoxError),
    TooSlow,
    /// Nothing is left of the time for all questions.
    NoTimeLeft,
    Panicked,
    TooLong,
    Status(StatusCode),
    NotJson,
    NotPrometheus,
    /// What Prometheus says, cut.
    Refused(String),
    Nothing,
    Many(usize),
    /// What it is, or of which type.
    NoNumber(String),
    NoTime(String),
}

// === impl AskError ===

impl AskError {
    /// Tells whether the same question may have an answer later: nobody answered, not in time, or
    /// with a status that says so.
    pub fn is_retryable(&self) -> bool {
        match &self.0 {
            Why::Unreachable(_) | Why::TooSlow | Why::NoTimeLeft => true,
            Why::Status(status) => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            _ => false,
        }
    }

    /// Tells whether Prometheus has answered, and knows no value: no series has these labels, or
    /// nothing was counted in the window.
    pub fn is_nothing(&self) -> bool {
        matches!(self.0, Why::Nothing)
    }
}

impl From<Why> for AskError {
    fn from(why: Why) -> Self {
        Self(why)
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Why::Unreachable(_) => f.write_str("nobody answers"),
            Why::TooSlow => write!(f, "no answer within {ASK_TIME:?}"),
            Why::NoTimeLeft => f.write_str("no time is left for this question"),
            Why::Panicked => f.write_str("the client panicked"),
            Why::TooLong => write!(f, "the answer has more than {ANSWER_BYTES_MAX} bytes"),
            Why::Status(status) => write!(f, "the status is {status}"),
            Why::NotJson => f.write_str("the answer is no JSON"),
            Why::NotPrometheus => f.write_str("the answer is not one of a Prometheus"),
            Why::Refused(error) => write!(f, "the query is refused: {error:?}"),
            Why::Nothing => f.write_str("there are no values yet"),
            Why::Many(count) => write!(f, "there are {count} values, where one is needed"),
            Why::NoNumber(what) => write!(f, "the answer is a {what:?}, and no number"),
            Why::NoTime(value) => write!(f, "{value:?} is no length of time"),
        }
    }
}

impl std::error::Error for AskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Why::Unreachable(error) => Some(&**error),
            _ => None,
        }
    }
}
