use std::time::Duration;

use crate::context::Name;
use crate::decide::backoff::Backoff;
use crate::decide::batch::{InvalidSize, SizeConfig};

/// What a [`BatchWriter`](super::BatchWriter) is made of.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use std::time::Duration;
/// use steadfast::batch::BatchConfig;
///
/// let config = BatchConfig {
///     linger: Duration::from_millis(20),
///     ..BatchConfig::new("page views")
/// };
/// assert_eq!((config.size.rows_max, config.queue_max), (200, 10_000));
/// ```
#[derive(Debug, Clone)]
pub struct BatchConfig {
    /// Names the writer in reports and log lines.
    pub name: Name,
    /// How much is written at once.
    pub size: SizeConfig,
    /// How long a row waits for others: up to [`BatchConfig::LINGER_LIMIT`], 5 ms by default. That
    /// is about what a commit takes, so that waiting for company at most doubles the wait. Under
    /// load nobody lingers, since the next batch fills while the last one is written.
    pub linger: Duration,
    /// How many rows wait: 1 to [`BatchConfig::QUEUE_MAX_LIMIT`], 10,000 by default. At 200 rows
    /// in 50 ms that is two and a half seconds of writing; what waits for longer should rather be
    /// told so.
    pub queue_max: usize,
    /// How long a sink may take for one transaction: more than nothing, 30 s by default, far above
    /// what a batch should take: none is meant to take more than the half of it. Then it counts as
    /// unavailable, with nobody knowing whether it has written, and the next batches are smaller. A batch that was not
    /// answered in time four times is split, once the sink has [settled](super::Sink::settle) that it is not written; a row
    /// alone is given up only if it is late again after another one was written. So that this is seldom, let the database
    /// end a statement sooner than that by itself.
    pub write_timeout: Duration,
    /// How long to wait between attempts, when a transaction failed for no fault of its rows: from
    /// 20 ms, doubling to 5 s, with full jitter. Two writers that deadlocked must not meet again.
    pub backoff: Backoff,
    /// How many rows in a row may be given up without one that is written in between, before it is
    /// taken to be something else than the rows: at least 1, 10 by default. From then on rows wait, and are given up
    /// only if one of the [sixteen](crate::decide::batch::Circuit::PROBE_MAX) at the head of the queue can be written.
    pub bad_max: u32,
    /// How long the last handle's drop leaves for writing what is queued; 30 s by default.
    /// [`drain`](super::BatchWriter::drain) brings its own limit.
    pub drain_max: Duration,
}

impl BatchConfig {
    /// The longest linger: a minute.
    pub const LINGER_LIMIT: Duration = Duration::from_secs(60);

    /// The highest bound of the queue: 1,048,576 rows.
    pub const QUEUE_MAX_LIMIT: usize = 1 << 20;

    /// Describes a writer with defaults.
    pub fn new(name: impl Into<Name>) -> Self {
        let backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(5));
        Self {
            name: name.into(),
            size: SizeConfig::default(),
            linger: Duration::from_millis(5),
            queue_max: 10_000,
            write_timeout: Duration::from_secs(30),
            backoff: backoff.expect("the bounds are in order"),
            bad_max: 10,
            drain_max: Duration::from_secs(30),
        }
    }

    pub(super) fn check(&self) -> Result<(), BatchError> {
        if self.linger > Self::LINGER_LIMIT {
            return Err(Refusal::Linger(self.linger).into());
        }
        if !(1..=Self::QUEUE_MAX_LIMIT).contains(&self.queue_max) {
            return Err(Refusal::Queue(self.queue_max).into());
        }
        if self.write_timeout.is_zero() {
            return Err(Refusal::WriteTimeout.into());
        }
        if self.bad_max == 0 {
            return Err(Refusal::BadMax.into());
        }
        Ok(())
    }
}

/// Says why a writer cannot be made; trying again with the same values fails again.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BatchError(#[from] Refusal);

#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("linger is {0:?}, but must be at most {limit:?}", limit = BatchConfig::LINGER_LIMIT)]
    Linger(Duration),
    #[error("queue_max is {0}, but must be from 1 to {limit}", limit = BatchConfig::QUEUE_MAX_LIMIT)]
    Queue(usize),
    #[error("write_timeout is zero, so that nothing could ever be written")]
    WriteTimeout,
    #[error("bad_max is zero, so that no row could ever be given up")]
    BadMax,
    #[error("size: {0}")]
    Size(InvalidSize),
    #[error("size.lag_max is set, but nobody looks how far replicas are behind: add a `Look`")]
    Unwatched,
    #[error("a batch writer must be made inside a tokio runtime, which runs it")]
    NoRuntime,
}

impl BatchError {
    /// Tells whether there was no tokio runtime around.
    pub fn is_no_runtime(&self) -> bool {
        matches!(self.0, Refusal::NoRuntime)
    }
}
