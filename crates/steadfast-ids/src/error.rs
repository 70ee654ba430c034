//! Why the store gives no ids.

use std::fmt;
use std::time::Duration;

use crate::generator::Refusal;

/// Says why a store hands out no worker id or no numbers.
///
/// | code | what |
/// |---|---|
/// | SF-1301 | no worker id is free, or the one asked for is somebody's |
/// | SF-1302 | the clock of this host is behind what was reserved with every worker id that is free |
/// | SF-1303 | the clock of this host is off that of the database |
/// | SF-1304 | the group has another layout |
/// | SF-1305 | a setting is out of range |
/// | SF-1306 | the file of SQLite is a copy of another |
/// | SF-1307 | the tag has no more numbers |
/// | SF-1308 | the store gave numbers that it had given before |
/// | SF-1309 | the numbers are used up, and the store gives no others |
/// | SF-1310 | the column that is audited is not what it was said to be |
/// | SF-11xx | the store itself: see [`steadfast_store::Error`] |
#[derive(Clone)]
pub struct Error(Box<Repr>);

#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Repr {
    #[error("the store refused")]
    Store(#[source] steadfast_store::Error),
    #[error("{what} {why}")]
    Config {
        what: &'static str,
        why: &'static str,
    },
    #[error(transparent)]
    Start(Refusal),
    #[error(
        "none of the {all} worker ids of the group {group:?} is free: {leased} are leased, {resting} rest; the next may \
         be there in {retry_after:.1?}"
    )]
    NoneFree {
        group: String,
        all: i64,
        leased: i64,
        resting: i64,
        retry_after: Duration,
    },
    #[error(
        "worker id {worker} of the group {group:?} is leased by another process, at least for {retry_after:.1?}"
    )]
    Held {
        group: String,
        worker: u64,
        retry_after: Duration,
    },
    #[error(
        "the clock of this host is {by:.1?} behind the times that were reserved with every worker id of the group \
         {group:?} that is free"
    )]
    Behind { group: String, by: Duration },
    #[error("the clock of this host is {by:.1?} off that of the database, and may be {most:?}")]
    Skew { by: Duration, most: Duration },
    #[error("the group {group:?} has the layout {stored}, {why}")]
    Layout {
        group: String,
        stored: String,
        why: &'static str,
    },
    #[error(
        "the file of SQLite is a copy: ids were made from another one ({known}, this one is {found})"
    )]
    Copy { known: String, found: String },
    #[error("the tag {0:?} has no more numbers: it is at 2^63")]
    TagEnded(String),
    #[error(transparent)]
    BadRange(crate::segment::BadRange),
    #[error("the numbers of {tag:?} are used up, and the store gives no others")]
    UsedUp {
        tag: String,
        retry_after: Duration,
        #[source]
        cause: Option<Box<Error>>,
    },
    #[error("the store has not answered for {waited:?}")]
    NoAnswer { waited: Duration },
    #[error(transparent)]
    Segments(crate::segment::InvalidSegments),
    #[error("{0}")]
    Column(String),
}

impl Error {
    /// Gives the code, `SF-nnnn`. A code keeps its meaning for ever.
    pub fn code(&self) -> &'static str {
        match &*self.0 {
            Repr::Store(error) => error.code(),
            Repr::NoneFree { .. } | Repr::Held { .. } => "SF-1301",
            Repr::Behind { .. } => "SF-1302",
            Repr::Skew { .. } => "SF-1303",
            Repr::Layout { .. } => "SF-1304",
            Repr::Config { .. } | Repr::Start(_) | Repr::Segments(_) => "SF-1305",
            Repr::Copy { .. } => "SF-1306",
            Repr::TagEnded(_) => "SF-1307",
            Repr::BadRange(_) => "SF-1308",
            Repr::UsedUp { .. } | Repr::NoAnswer { .. } => "SF-1309",
            Repr::Column(_) => "SF-1310",
        }
    }

    /// Says what to do about it, in a sentence.
    pub fn fix(&self) -> &'static str {
        match &*self.0 {
            Repr::Store(error) => error.fix(),
            Repr::NoneFree { .. } => {
                "come back later, run fewer processes, or move to a layout with more bits of worker id"
            }
            Repr::Held { .. } => "stop the other process, or come back when its lease is over",
            Repr::Behind { .. } => {
                "put the clock of this host right; if another one was ahead, wait, or take a worker id that nobody had"
            }
            Repr::Skew { .. } => {
                "keep the clocks of hosts and database in step, with chrony or the like"
            }
            Repr::Layout { .. } => {
                "give the layout that the group has, or take another group, for ids that are not compared with these"
            }
            Repr::Config { .. } | Repr::Start(_) | Repr::Segments(_) => "correct the setting named",
            Repr::Copy { .. } => {
                "if what it was copied from is used no more, say `Ids::adopt` once; else have one file for both"
            }
            Repr::TagEnded(_) => "take another tag",
            Repr::BadRange(_) => {
                "put the counter of the tag to a number that is greater than all that are in use"
            }
            Repr::UsedUp { .. } | Repr::NoAnswer { .. } => {
                "see the cause: the store is out of reach or refuses"
            }
            Repr::Column(_) => "name the table, the column and its form as they are",
        }
    }

    /// Tells when to come back, where that helps without anybody changing anything.
    pub fn retry_after(&self) -> Option<Duration> {
        match &*self.0 {
            Repr::UsedUp { .. } if self.is_tag_ended() => None,
            Repr::NoneFree { retry_after, .. }
            | Repr::Held { retry_after, .. }
            | Repr::UsedUp { retry_after, .. } => Some(*retry_after),
            Repr::Behind { by, .. } => Some(*by),
            Repr::Store(error) if error.is_retryable() => Some(RETRY),
            _ => None,
        }
    }

    /// Tells whether trying again may succeed without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        self.retry_after().is_some()
    }

    /// Tells whether there is no worker id for this process now: all are somebody's, or the one asked for is.
    pub fn is_taken(&self) -> bool {
        matches!(*self.0, Repr::NoneFree { .. } | Repr::Held { .. })
    }

    /// Tells whether more worker ids of the layout would help.
    pub(crate) fn would_more_help(&self) -> bool {
        matches!(*self.0, Repr::NoneFree { .. } | Repr::Behind { .. })
    }

    /// Tells whether numbers are used up because the store gives no others.
    pub fn is_used_up(&self) -> bool {
        matches!(*self.0, Repr::UsedUp { .. })
    }

    /// Tells whether the tag never has a number again.
    pub(crate) fn is_tag_ended(&self) -> bool {
        match &*self.0 {
            Repr::TagEnded(_) => true,
            Repr::UsedUp { cause, .. } => cause.as_ref().is_some_and(|cause| cause.is_tag_ended()),
            _ => false,
        }
    }

    pub(crate) fn is_bad_range(&self) -> bool {
        matches!(*self.0, Repr::BadRange(_))
    }

    /// Gives the error of the store, if it is one.
    pub fn store(&self) -> Option<&steadfast_store::Error> {
        match &*self.0 {
            Repr::Store(error) => Some(error),
            Repr::UsedUp { cause, .. } => cause.as_ref()?.store(),
            _ => None,
        }
    }
}

/// When to ask a store again that did not answer: a second.
const RETRY: Duration = Duration::from_secs(1);

impl From<Repr> for Error {
    fn from(repr: Repr) -> Self {
        Self(Box::new(repr))
    }
}

impl From<steadfast_store::Error> for Error {
    fn from(error: steadfast_store::Error) -> Self {
        Repr::Store(error).into()
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
