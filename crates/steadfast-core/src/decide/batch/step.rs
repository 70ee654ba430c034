//! What a controller is told, and what it answers.

use std::time::Duration;

/// How far the replicas are behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lag {
    /// Nobody could tell.
    #[default]
    Unknown,
    /// The one that is farthest behind is so far behind.
    Known(Duration),
    /// It is at least so far behind, and nobody could tell how far: unknown, up to a limit that this is over.
    AtLeast(Duration),
}

/// What a look at the database has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// How many wait for locks; `None` when nobody could tell.
    pub lock_waiters: Option<u32>,
    /// How far the replicas are behind.
    pub lag: Lag,
}

/// A batch that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrote {
    /// How many rows it had.
    pub rows: u32,
    /// How long it took, from the first byte to the answer to its commit.
    pub took_ns: u64,
}

/// What may be written next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// At most so many rows; at least one.
    pub rows: u32,
    /// At most so many bytes, but always one row.
    pub bytes: usize,
    /// Not before this instant, in nanoseconds. It may come earlier with the next look.
    pub not_before: u64,
    /// What bounds it.
    pub constraint: Constraint,
}

/// Names what bounds the size of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Constraint {
    /// The cap on rows: nothing else does.
    #[default]
    Cap,
    /// The time that a batch takes.
    Time,
    /// The time that a batch takes whatever its rows are, such as that of a commit to another region: it is more than half
    /// of the target. A batch takes up to twice that, since smaller ones would write much less, and be little quicker.
    FixedTime,
    /// The bytes of a batch: the last one had no room for its next row.
    Bytes,
    /// Larger batches were seen to write fewer rows a second.
    Throughput,
    /// Others wait for locks.
    LockWaiters,
    /// Replicas are behind.
    Lag,
    /// Nothing is known about the replicas.
    UnknownLag,
}

// === impl Constraint ===

impl Constraint {
    /// All of them.
    pub const ALL: [Constraint; 8] = [
        Constraint::Cap,
        Constraint::Time,
        Constraint::FixedTime,
        Constraint::Bytes,
        Constraint::Throughput,
        Constraint::LockWaiters,
        Constraint::Lag,
        Constraint::UnknownLag,
    ];

    /// Gives the name, as labels have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Constraint::Cap => "cap",
            Constraint::Time => "time",
            Constraint::FixedTime => "fixed_time",
            Constraint::Bytes => "bytes",
            Constraint::Throughput => "throughput",
            Constraint::LockWaiters => "lock_waiters",
            Constraint::Lag => "lag",
            Constraint::UnknownLag => "unknown_lag",
        }
    }
}
