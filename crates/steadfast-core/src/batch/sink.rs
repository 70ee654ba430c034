use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::{BoxError, Panic};

/// Where rows go: one transaction at a time.
///
/// The database of the rows decides what a transaction is; `steadfast-store` has sinks for
/// PostgreSQL and SQLite.
pub trait Sink<T>: Send + Sync + 'static {
    /// Writes all rows, or none, and returns once they are committed.
    ///
    /// It is called again with the same rows and [`id`](Batch::id) after
    /// [conflicts](WriteError::conflict) and [outages](WriteError::unavailable), and with some of
    /// them, under another id, after an error [of a row](WriteError::row) or where it was
    /// [too much](WriteError::too_much). A panic counts as one of
    /// a row, so that the row that provokes it is found.
    ///
    /// After an outage or a panic a batch is in doubt: an attempt that was not answered may have written it, or may do so
    /// yet. So the same rows are tried under the same id until they are written, something else fails, or four attempts were
    /// not answered within the [timeout](super::BatchConfig::write_timeout); then the sink is
    /// asked to [settle](Self::settle) it before its rows are tried under other ids, wait, or are given up.
    ///
    /// # Cancel safety
    /// It is dropped when it exceeds the timeout, or the drain its deadline. A transaction must
    /// then roll back, or the batch must be known by its id.
    fn write(&self, batch: Batch<'_, T>) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// Ends the doubt about a batch: says whether an attempt has written it, and if not, that none does from now on, however
    /// late the database comes to it. The batch is not tried again under this id.
    ///
    /// By default it says that none has, which is all that a sink can say that does not know ids: whether it did or not, under
    /// no id would such rows be written once. A sink around another one passes this on.
    ///
    /// # Errors
    /// When it cannot say so yet. It is asked again, with the backoff of writes, until the end; within the timeout of a write,
    /// and a panic is contained. Meanwhile rows wait, which [`unsettled`](super::BatchStats::unsettled) tells.
    ///
    /// # Cancel safety
    /// It is dropped like [`write`](Self::write).
    fn settle(&self, id: BatchId) -> impl Future<Output = Result<bool, WriteError>> + Send {
        let _ = id;
        async { Ok(false) }
    }

    /// Says whether two rows are of one key, so that it matters which of them is written last, as with an upsert. Asked by a
    /// writer that is not [`keyed`](super::BatchBuilder::keyed), where rows failed before another one was written and are to be
    /// tried once more: those of its key are given up instead.
    ///
    /// By default no two are of one key. A sink around another one passes this on. If it panics they count as of one key.
    fn is_same_key(&self, earlier: &T, later: &T) -> bool {
        let _ = (earlier, later);
        false
    }

    /// Takes note of a row that cannot be written: stores it where somebody looks.
    ///
    /// The receipt of the row has the same error, and it is in the log with the trace id of the
    /// sender, so by default nothing else is done. The writer waits for it, within the timeout of a
    /// write; a panic is contained.
    fn dead(&self, row: &T, error: &WriteError) -> impl Future<Output = ()> + Send {
        let _ = (row, error);
        async {}
    }
}

/// The rows of one transaction.
#[derive(Debug)]
pub struct Batch<'a, T> {
    pub(super) id: BatchId,
    pub(super) attempt: u32,
    pub(super) rows: &'a [T],
}

/// Names the rows of one transaction: other rows have another id.
///
/// A sink that stores it in the transaction, in a table where it is unique, knows a batch that it
/// has committed already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId {
    pub(super) writer: u64,
    pub(super) number: u64,
}

impl<'a, T> Batch<'a, T> {
    /// Gives the rows, at least one.
    pub fn rows(&self) -> &'a [T] {
        self.rows
    }

    /// Gives the name of these rows.
    pub fn id(&self) -> BatchId {
        self.id
    }

    /// Counts the attempts to write them, from 1. From the second on they may be there already.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

impl BatchId {
    /// Gives the random number of the writer: another one each time that one is made.
    pub fn writer(self) -> u64 {
        self.writer
    }

    /// Gives the number within the writer; it only grows.
    pub fn number(self) -> u64 {
        self.number
    }
}

/// Twice sixteen hexadecimal digits.
impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.writer, self.number)
    }
}

/// Why a transaction was not committed, and so what to do about it. A cheap clone.
#[derive(Clone)]
pub struct WriteError {
    kind: Kind,
    /// Which row of the batch it is, where that is known.
    at: Option<usize>,
    source: Arc<dyn Error + Send + Sync>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Row,
    Conflict,
    Unavailable,
    Broken,
    TooMuch,
}

impl WriteError {
    /// One of the rows cannot be written, whenever it is tried: it violates a constraint, is too
    /// long, cannot be encoded. Nothing was committed by this attempt. The row is looked for.
    pub fn row(source: impl Into<BoxError>) -> Self {
        Self::new(Kind::Row, source)
    }

    /// The row at this place of [`Batch::rows`] cannot be written, whenever it is tried, and nothing
    /// was committed. It alone is given up, without a search; the others are tried again.
    pub fn row_at(at: usize, source: impl Into<BoxError>) -> Self {
        Self {
            at: Some(at),
            ..Self::row(source)
        }
    }

    /// Others were in the way: a deadlock, a serialization failure, a lock that was not to be had in
    /// time. Nothing was committed. The same rows are tried again, and the next batches are smaller.
    pub fn conflict(source: impl Into<BoxError>) -> Self {
        Self::new(Kind::Conflict, source)
    }

    /// Nobody was there to write, or to answer: the connection broke, the server is read-only or
    /// restarts. Perhaps it was committed, or will be, so from now on the batch is in [doubt](Sink::write). The same rows are
    /// tried again until the end, unless it is the [timeout](super::BatchConfig::write_timeout) that runs out again and again.
    pub fn unavailable(source: impl Into<BoxError>) -> Self {
        Self::new(Kind::Unavailable, source)
    }

    /// No row can be written, and that will not change by itself: the table does not exist, a right
    /// is missing. Nothing was committed by this attempt. Rows wait, and a few are tried now and then.
    pub fn broken(source: impl Into<BoxError>) -> Self {
        Self::new(Kind::Broken, source)
    }

    /// It was too much for one transaction: it took longer than the database lets it, or is larger.
    /// Nothing was committed by this attempt. Fewer of the same rows are tried; one that is alone already is tried again, since
    /// others may have kept it waiting. After four times others are tried, and it is given up if it is too much again once
    /// one of those was written.
    pub fn too_much(source: impl Into<BoxError>) -> Self {
        Self::new(Kind::TooMuch, source)
    }

    pub(super) fn panicked(panic: Panic) -> Self {
        Self::new(Kind::Row, panic)
    }

    /// Tells whether the code of the caller panicked, which may do so for any row from then on.
    pub(super) fn is_panic(&self) -> bool {
        self.source.is::<Panic>()
    }

    fn new(kind: Kind, source: impl Into<BoxError>) -> Self {
        Self {
            kind,
            at: None,
            source: Arc::from(source.into()),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn at(&self) -> Option<usize> {
        self.at
    }

    /// Tells whether the attempt may have committed all the same, or may do so yet.
    pub(super) fn leaves_doubt(&self) -> bool {
        // Whoever points at a row is certain that nothing was committed.
        self.kind == Kind::Unavailable || self.at.is_none() && self.is_panic()
    }

    /// Tells whether one of the rows is to blame.
    pub fn is_row(&self) -> bool {
        self.kind == Kind::Row
    }

    /// Tells whether the same rows may be tried again, if perhaps fewer at once.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            Kind::Conflict | Kind::Unavailable | Kind::TooMuch
        )
    }
}

impl Kind {
    pub(super) const ALL: [Kind; 5] = [
        Kind::Row,
        Kind::Conflict,
        Kind::Unavailable,
        Kind::Broken,
        Kind::TooMuch,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Kind::Row => "row",
            Kind::Conflict => "conflict",
            Kind::Unavailable => "unavailable",
            Kind::Broken => "broken",
            Kind::TooMuch => "too_much",
        }
    }
}

impl fmt::Debug for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteError")
            .field("kind", &self.kind)
            .field("at", &self.at)
            .field("source", &self.source)
            .finish()
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Row => "row cannot be written",
            Kind::Conflict => "others were in the way",
            Kind::Unavailable => "nobody was there to write",
            Kind::Broken => "nothing can be written",
            Kind::TooMuch => "too much for one transaction",
        })?;
        write!(f, ": {}", self.source)
    }
}

// The message has that of the source, which is what people look for; so the chain goes on behind it.
impl Error for WriteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}
