//! How a handler ends other than by success or failure.
//!
//! A handler returns `Ok` when the work is done and any error when it failed: the error is kept
//! with the job, and the next attempt follows by the rule of its kind. The functions here make
//! errors that say something else; `?` and `Err(…)` take them as any other.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use steadfast_core::BoxError;

/// Calls the handler again after `delay`, without spending an attempt: the time is not right.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steadfast_jobs::{Run, end};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Settle; impl steadfast_jobs::Job for Settle { const KIND: &'static str = "settle"; }
/// # fn bank_is_open() -> bool { true }
///
/// async fn settle(_run: Run, _job: Settle) -> Result<(), steadfast_core::BoxError> {
///     if !bank_is_open() {
///         return Err(end::snooze(Duration::from_secs(600)));
///     }
///     Ok(())
/// }
/// ```
pub fn snooze(delay: Duration) -> BoxError {
    End(Kind::Snooze(delay, None)).into()
}

/// As [`snooze`], and keeps with the job why: whoever looks at a job that waits sees what it waits for.
pub fn snooze_because(delay: Duration, error: impl Into<BoxError>) -> BoxError {
    End(Kind::Snooze(delay, Some(error.into()))).into()
}

/// Fails this attempt, and has the next one follow after `delay` instead of after what the rule of
/// the kind says: a target has told when to come back.
pub fn retry_after(delay: Duration, error: impl Into<BoxError>) -> BoxError {
    End(Kind::RetryAfter(delay, error.into())).into()
}

/// Fails for good: another attempt would not help.
pub fn discard(error: impl Into<BoxError>) -> BoxError {
    End(Kind::Discard(error.into())).into()
}

/// Cancels the job from inside: what it was for is gone.
pub fn cancel(reason: impl Into<String>) -> BoxError {
    End(Kind::Cancel(reason.into())).into()
}

/// An error that says how a run is to end; made by the functions of this module.
#[derive(Debug)]
pub struct End(pub(crate) Kind);

#[derive(Debug)]
pub(crate) enum Kind {
    Snooze(Duration, Option<BoxError>),
    RetryAfter(Duration, BoxError),
    Discard(BoxError),
    Cancel(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Snooze(delay, _) => write!(f, "snoozed for {delay:?}"),
            Kind::RetryAfter(delay, _) => write!(f, "failed, to be retried after {delay:?}"),
            Kind::Discard(_) => f.write_str("failed for good"),
            Kind::Cancel(reason) => write!(f, "cancelled by its handler: {reason}"),
        }
    }
}

impl Error for End {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::RetryAfter(_, error) | Kind::Discard(error) | Kind::Snooze(_, Some(error)) => {
                Some(error.as_ref())
            }
            Kind::Snooze(_, None) | Kind::Cancel(_) => None,
        }
    }
}
