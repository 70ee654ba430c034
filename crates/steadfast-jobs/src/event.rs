//! What happens to jobs, as a worker tells it.

use std::sync::Arc;
use std::time::Duration;

use crate::JobId;

/// How many events a listener can be behind: 1,024. One that is slower misses the oldest, and is
/// told how many.
pub const EVENTS_BEHIND_MAX: usize = 1_024;

/// Something that happened to a job.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JobEvent {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: Arc<str>,
    /// Which attempt it is in, counted from 1; of a rescued job, the one that has yet to end.
    pub attempt: u32,
    /// The term of the run; zero where it is not known.
    pub term: u64,
    /// What happened.
    pub what: What,
}

/// What happened to a job.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum What {
    /// A handler was started.
    Started,
    /// It ended well, and the store knows.
    Completed,
    /// It failed; another attempt follows after this time.
    Retried {
        /// The wait.
        after: Duration,
        /// Why it failed.
        error: Arc<str>,
    },
    /// It failed for the last time.
    Discarded {
        /// Why it failed.
        error: Arc<str>,
    },
    /// It wants to be called again after this time.
    Snoozed {
        /// The wait.
        after: Duration,
    },
    /// It was asked to stop, and did.
    Cancelled,
    /// It was handed back, because the process goes down.
    Released,
    /// Another node has it: what this one did does not count.
    LeaseLost,
    /// This node took it from a dead one.
    Rescued {
        /// How many processes died with it.
        crashes: u32,
    },
    /// This node took it from a dead one, once too often.
    Quarantined,
    /// Its run came to an end after the job had gone to others, or after its permit was written off:
    /// the end was rejected.
    Rejected {
        /// What the end would have made of the job, as [`What::as_str`] says it.
        wanted: &'static str,
    },
    /// Its handler did not end although it was told to; its permit is written off.
    WrittenOff,
}

impl What {
    /// Gives a short stable word for labels and log fields.
    pub fn as_str(&self) -> &'static str {
        match self {
            What::Started => "started",
            What::Completed => "completed",
            What::Retried { .. } => "retried",
            What::Discarded { .. } => "discarded",
            What::Snoozed { .. } => "snoozed",
            What::Cancelled => "cancelled",
            What::Released => "released",
            What::LeaseLost => "lease_lost",
            What::Rescued { .. } => "rescued",
            What::Quarantined => "quarantined",
            What::WrittenOff => "written_off",
            What::Rejected { .. } => "rejected",
        }
    }

    pub(crate) fn index(&self) -> usize {
        match self {
            What::Started => 0,
            What::Completed => 1,
            What::Retried { .. } => 2,
            What::Discarded { .. } => 3,
            What::Snoozed { .. } => 4,
            What::Cancelled => 5,
            What::Released => 6,
            What::LeaseLost => 7,
            What::Rescued { .. } => 8,
            What::Quarantined => 9,
            What::WrittenOff => 10,
            What::Rejected { .. } => 11,
        }
    }
}

/// The words of [`What::as_str`], by index.
pub(crate) const WORDS: [&str; 12] = [
    "started",
    "completed",
    "retried",
    "discarded",
    "snoozed",
    "cancelled",
    "released",
    "lease_lost",
    "rescued",
    "quarantined",
    "written_off",
    "rejected",
];
