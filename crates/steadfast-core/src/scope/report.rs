use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::{BoxError, Verdict};
use crate::cancel::Cause;
use crate::context::{Name, ScopePath};
use crate::panic::Panic;

/// What a scope's cleanups did: one entry for each, in the order in which they ran.
#[derive(Debug)]
#[non_exhaustive]
pub struct CleanupReport {
    /// The scopes around, with the reported one innermost.
    pub path: ScopePath,
    /// How the scope ended, after the last change by a cleanup.
    pub verdict: Verdict,
    /// What the panic or the error says, where the outcome is one. That of an error is known where
    /// it is a boxed one.
    pub reason: Option<String>,
    /// Why the body was cancelled, also where a cleanup has changed the outcome since.
    pub cause: Option<Cause>,
    /// Whether the future of the scope was dropped, so that the reaper ran what was left.
    pub reaped: bool,
    /// How many children had not ended [`cleanup_limit`](crate::ScopeBuilder::cleanup_limit)
    /// after they were told to.
    pub children_left: usize,
    /// One for each cleanup that was registered and neither disarmed nor run early, where the
    /// handle told how it went.
    pub entries: Vec<CleanupEntry>,
}

/// What one cleanup did.
#[derive(Debug)]
#[non_exhaustive]
pub struct CleanupEntry {
    /// The name it was registered with.
    pub name: Name,
    /// Where it was registered.
    pub place: &'static Location<'static>,
    /// How it went.
    pub status: CleanupStatus,
    /// How long it took. Measured when somebody looks: the scope has a report callback, or its
    /// events are listened to.
    pub took: Option<Duration>,
}

/// How a cleanup went.
#[derive(Debug)]
#[non_exhaustive]
pub enum CleanupStatus {
    /// It ran to its end.
    Ran,
    /// It was to undo something, and the scope ended with a value.
    NotNeeded,
    /// It ran and returned an error.
    Failed(BoxError),
    /// It panicked; the panic is also in the outcome, unless a later cleanup changed that.
    Panicked(Panic),
    /// It was dropped because it exceeded this limit.
    TimedOut(Duration),
    /// It ran on the fallback thread, because its runtime had ended, and failed, panicked or did
    /// not end there: most likely its I/O belongs to that runtime. The reason is given. Or there
    /// was nothing left to run it at all.
    RuntimeGone(BoxError),
    /// The owned value never came back: its guard was leaked, or is still held outside the scope.
    Missing,
}

impl CleanupStatus {
    /// Tells whether it ran to its end and returned no error, or was not needed.
    pub fn is_ok(&self) -> bool {
        matches!(self, CleanupStatus::Ran | CleanupStatus::NotNeeded)
    }

    /// Gives a short stable word for labels and log fields.
    pub fn as_str(&self) -> &'static str {
        match self {
            CleanupStatus::Ran => "ran",
            CleanupStatus::NotNeeded => "not_needed",
            CleanupStatus::Failed(_) => "failed",
            CleanupStatus::Panicked(_) => "panicked",
            CleanupStatus::TimedOut(_) => "timed_out",
            CleanupStatus::RuntimeGone(_) => "runtime_gone",
            CleanupStatus::Missing => "missing",
        }
    }
}

impl fmt::Display for CleanupStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CleanupStatus::Ran => f.write_str("ran"),
            CleanupStatus::NotNeeded => f.write_str("not needed"),
            CleanupStatus::Failed(error) => write!(f, "failed: {error}"),
            CleanupStatus::Panicked(panic) => write!(f, "panicked: {}", panic.message()),
            CleanupStatus::TimedOut(limit) => write!(f, "timed out after {limit:?}"),
            CleanupStatus::RuntimeGone(error) => write!(f, "runtime gone: {error}"),
            CleanupStatus::Missing => f.write_str("missing: its value never came back"),
        }
    }
}

impl CleanupReport {
    /// Gives the cleanups that did not end well.
    pub fn troubles(&self) -> impl Iterator<Item = &CleanupEntry> {
        self.entries.iter().filter(|entry| !entry.status.is_ok())
    }
}

/// A table for people: one line for the scope, one for each cleanup.
impl fmt::Display for CleanupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reaped = if self.reaped {
            ", dropped and reaped"
        } else {
            ""
        };
        write!(f, "{} ended {}{reaped}", self.path, self.verdict)?;
        if let Some(reason) = &self.reason {
            write!(f, ": {reason}")?;
        }
        match (&self.cause, self.verdict) {
            (Some(cause), Verdict::Cancelled) => write!(f, ": {cause}")?,
            (Some(cause), _) => write!(f, ", after its body was cancelled: {cause}")?,
            (None, _) => {}
        }
        if self.children_left > 0 {
            write!(f, ", {} children still running", self.children_left)?;
        }
        for entry in &self.entries {
            write!(f, "\n  {:<20} {}", entry.name, entry.status)?;
            if let Some(took) = entry.took {
                write!(f, " ({took:.1?})")?;
            }
            write!(f, "  [{}:{}]", entry.place.file(), entry.place.line())?;
        }
        Ok(())
    }
}

/// What a cleanup may return: nothing, or a result whose error is reported, and does not change
/// the outcome.
pub trait CleanupResult {
    /// Gives the error, if there is one.
    ///
    /// # Errors
    /// What the cleanup returned.
    fn into_result(self) -> Result<(), BoxError>;
}

impl CleanupResult for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<T, E: Into<BoxError>> CleanupResult for Result<T, E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map(drop).map_err(Into::into)
    }
}

impl CleanupResult for never::Never {
    fn into_result(self) -> Result<(), BoxError> {
        self
    }
}

/// Names the type `!`, which has no name on stable Rust: what a cleanup that only panics returns.
mod never {
    pub(super) type Never = <fn() -> ! as Returns>::Value;

    #[allow(unreachable_pub, reason = "must be as visible as what is made of it")]
    pub trait Returns {
        type Value;
    }

    impl<T> Returns for fn() -> T {
        type Value = T;
    }
}
