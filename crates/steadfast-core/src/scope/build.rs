use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use super::{BoxError, CleanupReport, OnReport};
use crate::cancel::Cancel;
use crate::clock::{self, Instant};
use crate::context::Name;
use crate::panic::Policy;

/// How long one async cleanup may take unless [`ScopeBuilder::cleanup_limit`] says otherwise:
/// 5 s, long enough for a rollback over a slow network, short enough for a few of them to fit
/// into the usual 30 s of a terminating container.
pub const CLEANUP_LIMIT: Duration = Duration::from_secs(5);

/// Starts the description of a scope with a name, which is in its span, its log lines and its
/// report.
///
/// Errors of the body are boxed, so that `?` takes any; [`ScopeBuilder::error`] chooses another
/// type.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use steadfast::{BoxError, ScopeError, scope};
///
/// let ended = scope("parse").run(async |_| Ok("12".parse::<u8>()?)).await;
/// assert_eq!(ended.unwrap(), 12);
///
/// #[derive(Debug, PartialEq)]
/// enum AppError { SoldOut }
///
/// let ended = scope("buy").error::<AppError>().run(async |_| Err::<(), _>(AppError::SoldOut)).await;
/// assert_eq!(ended.unwrap_err().failed(), Some(&AppError::SoldOut));
/// # }
/// ```
#[cfg_attr(feature = "test-util", track_caller)]
pub fn scope(name: impl Into<Name>) -> ScopeBuilder<BoxError> {
    ScopeBuilder {
        name: name.into(),
        timeout: None,
        deadline: None,
        cancel: None,
        cleanup_limit: CLEANUP_LIMIT,
        policy: Policy::Contain,
        on_report: None,
        #[cfg(feature = "test-util")]
        place: std::panic::Location::caller(),
        error: PhantomData,
    }
}

/// Describes a scope; made by [`scope()`].
#[must_use = "a scope does nothing until it is run"]
pub struct ScopeBuilder<E> {
    pub(super) name: Name,
    pub(super) timeout: Option<Duration>,
    pub(super) deadline: Option<Instant>,
    pub(super) cancel: Option<Cancel>,
    pub(super) cleanup_limit: Duration,
    pub(super) policy: Policy,
    pub(super) on_report: Option<OnReport>,
    #[cfg(feature = "test-util")]
    pub(super) place: &'static std::panic::Location<'static>,
    error: PhantomData<fn() -> E>,
}

impl<E> ScopeBuilder<E> {
    /// Chooses the error type of the body.
    pub fn error<E2>(self) -> ScopeBuilder<E2> {
        ScopeBuilder {
            name: self.name,
            timeout: self.timeout,
            deadline: self.deadline,
            cancel: self.cancel,
            cleanup_limit: self.cleanup_limit,
            policy: self.policy,
            on_report: self.on_report,
            #[cfg(feature = "test-util")]
            place: self.place,
            error: PhantomData,
        }
    }

    /// Gives body and children this long, from the first poll; then what still runs is cancelled
    /// with [`Cause::Timeout`](crate::Cause::Timeout). There is none by default. The cleanups are
    /// not part of it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Cancels what still runs at this point in time, with
    /// [`Cause::Deadline`](crate::Cause::Deadline). A deadline in the context holds for the work
    /// that reads it, and is only shortened by this.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Cancels body and children when `cancel` is. [`run_sync`](Self::run_sync) does not look at
    /// it: ask `cancel` itself there.
    pub fn cancel_on(mut self, cancel: &Cancel) -> Self {
        self.cancel = Some(cancel.clone());
        self
    }

    /// Gives each async cleanup this long, and children the same to end after they were told to;
    /// [`CLEANUP_LIMIT`] by default.
    pub fn cleanup_limit(mut self, limit: Duration) -> Self {
        self.cleanup_limit = limit;
        self
    }

    /// Chooses what a panic of the body does: it is contained by default.
    pub fn on_panic(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Calls `observe` once with what the cleanups did, in every way out, also when the future
    /// was dropped. A panic in it is contained and reported.
    pub fn on_report(mut self, observe: impl FnOnce(&CleanupReport) + Send + 'static) -> Self {
        self.on_report = Some(Box::new(observe));
        self
    }

    /// The point in time at which body and children must have ended.
    pub(super) fn effective_deadline(&self) -> Option<Instant> {
        let timeout = self
            .timeout
            .and_then(|timeout| clock::now().checked_add(timeout));
        match (timeout, self.deadline) {
            (Some(timeout), Some(deadline)) => Some(timeout.min(deadline)),
            (one, other) => one.or(other),
        }
    }
}

impl<E> fmt::Debug for ScopeBuilder<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeBuilder")
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .field("deadline", &self.deadline)
            .field("cleanup_limit", &self.cleanup_limit)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
