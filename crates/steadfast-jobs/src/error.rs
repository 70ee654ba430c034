//! Why something could not be done with jobs, and what to do about it.

use std::fmt;

use crate::JobId;
use crate::job::{KEY_BYTES_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX};

/// Says why jobs could not be enqueued, run or changed.
///
/// | code | what |
/// |---|---|
/// | SF-1201 | what was asked for is out of bounds or makes no sense; the store was not asked |
/// | SF-1202 | the result of a job is not of the type asked for |
/// | SF-1203 | the lease of a job was lost before its end was committed |
/// | SF-1204 | a unique key changes hands too fast |
/// | SF-1205 | the store gave an answer that this program cannot read |
/// | SF-1206 | the store did not answer before the lease was over |
/// | SF-1207 | there is no schedule of that name |
/// | SF-1208 | a schedule was changed since it was looked at |
/// | SF-1209 | a schedule in the store says what this program does not know |
/// | SF-11xx | the store itself: see [`steadfast_store::Error`] |
pub struct Error(Box<Repr>);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Repr {
    #[error("the store refused")]
    Store(#[source] steadfast_store::Error),
    #[error("the payload cannot be written as JSON")]
    Payload(#[source] serde_json::Error),
    #[error("the result is not of the type asked for")]
    Result(#[source] serde_json::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the lease of job {0} is lost: nothing of this transaction stays")]
    LeaseLost(JobId),
    #[error("the unique key {0:?} changes hands too fast")]
    Contended(String),
    #[error("the answer of the store cannot be read: {0}")]
    Answer(&'static str),
    #[error("the store did not answer before the lease was over")]
    Unanswered,
    #[error("there is no schedule {0:?}")]
    NoSchedule(String),
    #[error("the schedule {0:?} was changed since it was looked at")]
    Changed(String),
    #[error(
        "the schedule {name:?} in the store cannot be read by this program, which may be older than what wrote it"
    )]
    StoredSchedule {
        name: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What is refused before the store is asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("a {0} has 1 to {max} bytes, and no control or format characters", max = NAME_BYTES_MAX)]
    Name(&'static str),
    #[error("a {0} has 1 to {max} bytes without NUL", max = KEY_BYTES_MAX)]
    Key(&'static str),
    #[error("the payload has {0} bytes, over the bound of {max}", max = PAYLOAD_BYTES_MAX)]
    Payload(usize),
    #[error("the payload is {0} deep, over the bound of {max}", max = crate::job::DEPTH_MAX)]
    Depth(usize),
    #[error("{0}: keep it in a table of your own")]
    Result(String),
    #[error("{0} attempts are not within 1 to 1000")]
    Attempts(u32),
    #[error("a priority of {0} is not within -100 to 100")]
    Priority(i16),
    #[error("the {0} is longer than ten years")]
    Wait(&'static str),
    #[error("a batch of {0} jobs is over the bound of {max}", max = crate::client::BATCH_MAX)]
    Batch(usize),
    #[error("a schedule says {0} in its plan: leave it out of the options of its job")]
    Planned(&'static str),
    #[error("the payload is not JSON")]
    NotJson,
    #[error("a fixed delay has no times to fill in: its next depends on the run before")]
    NoTimes,
    #[error("a range from {from} to {to} has nothing in it: its end has to be after its beginning")]
    Backwards { from: String, to: String },
    #[error("the worker has no kind to run: say `kind(…)` at least once")]
    NoKind,
    #[error("the kind {0:?} has two handlers")]
    TwoHandlers(&'static str),
    #[error("the queue {0:?} is named twice")]
    TwoQueues(String),
    #[error("{what} is {is}, not within {least} to {most}")]
    Range {
        what: &'static str,
        is: String,
        least: String,
        most: String,
    },
}

impl Error {
    pub(crate) fn payload(error: serde_json::Error) -> Self {
        Repr::Payload(error).into()
    }

    /// Gives the code, `SF-nnnn`. A code keeps its meaning for ever.
    pub fn code(&self) -> &'static str {
        match &*self.0 {
            Repr::Store(error) => error.code(),
            Repr::Refused(_) | Repr::Payload(_) => "SF-1201",
            Repr::Result(_) => "SF-1202",
            Repr::LeaseLost(_) => "SF-1203",
            Repr::Contended(_) => "SF-1204",
            Repr::Answer(_) => "SF-1205",
            Repr::Unanswered => "SF-1206",
            Repr::NoSchedule(_) => "SF-1207",
            Repr::Changed(_) => "SF-1208",
            Repr::StoredSchedule { .. } => "SF-1209",
        }
    }

    /// Says what to do about it, in a sentence.
    pub fn fix(&self) -> &'static str {
        match &*self.0 {
            Repr::Store(error) => error.fix(),
            Repr::Refused(_) | Repr::Payload(_) => "keep to the bound named",
            Repr::Result(_) => {
                "read it as the type that the handler returns; one that is in use should only ever gain optional fields"
            }
            Repr::LeaseLost(_) => {
                "let nothing of this run count; another node has the job, or it has ended"
            }
            Repr::Contended(_) => "enqueue it again",
            Repr::Answer(_) => {
                "run the release that the tables are of; if it does, this is a bug to report"
            }
            Repr::Unanswered => {
                "see why the store is slow or out of reach; the job is run again when its lease is over"
            }
            Repr::NoSchedule(_) => "list the schedules that there are; it may have been deleted",
            Repr::Changed(_) => "look at it again, and decide anew",
            Repr::StoredSchedule { .. } => {
                "upgrade this program; nodes that know it make its jobs meanwhile"
            }
        }
    }

    /// Tells whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match &*self.0 {
            Repr::Store(error) => error.is_retryable(),
            Repr::Contended(_) | Repr::Unanswered => true,
            Repr::Payload(_)
            | Repr::Result(_)
            | Repr::Refused(_)
            | Repr::LeaseLost(_)
            | Repr::NoSchedule(_)
            | Repr::Changed(_)
            | Repr::StoredSchedule { .. }
            | Repr::Answer(_) => false,
        }
    }

    /// Tells whether the store may have done it although it did not say so: an enqueue with a
    /// key of [`Options::unique_for`](crate::Options::unique_for) can be repeated safely then.
    pub fn is_outcome_unknown(&self) -> bool {
        self.store()
            .is_some_and(steadfast_store::Error::is_outcome_unknown)
    }

    /// Tells whether another node has the job now, so that nothing this one does may count.
    pub fn is_lease_lost(&self) -> bool {
        matches!(&*self.0, Repr::LeaseLost(_))
    }

    /// Tells whether a schedule in the store says what this program does not know.
    pub(crate) fn is_unreadable_schedule(&self) -> bool {
        matches!(&*self.0, Repr::StoredSchedule { .. })
    }

    /// Tells whether there is no schedule of that name.
    pub fn is_unknown_schedule(&self) -> bool {
        matches!(&*self.0, Repr::NoSchedule(_))
    }

    /// Tells whether a schedule was changed by somebody else since it was looked at.
    pub fn is_changed(&self) -> bool {
        matches!(&*self.0, Repr::Changed(_))
    }

    /// Tells whether what was asked for is out of bounds or makes no sense, so that the store was not
    /// asked.
    pub fn is_refused(&self) -> bool {
        matches!(&*self.0, Repr::Refused(_) | Repr::Payload(_))
    }

    /// Gives the error of the store, if it is one.
    pub fn store(&self) -> Option<&steadfast_store::Error> {
        match &*self.0 {
            Repr::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl From<steadfast_store::Error> for Error {
    fn from(error: steadfast_store::Error) -> Self {
        Repr::Store(error).into()
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Repr::Refused(refusal).into()
    }
}

impl From<Repr> for Error {
    fn from(repr: Repr) -> Self {
        Self(Box::new(repr))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        match &*self.0 {
            // It says its own.
            Repr::Store(_) => Ok(()),
            _ => write!(f, " ({})", self.code()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.code())
            .field("repr", &self.0)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
