//! What a controller aims at, and never exceeds.

use std::time::Duration;

/// What a [`BatchSize`](super::BatchSize) aims at and never exceeds.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use std::time::Duration;
/// use steadfast::decide::batch::SizeConfig;
///
/// let config = SizeConfig {
///     lag_max: Some(Duration::from_secs(1)),
///     ..SizeConfig::default()
/// };
/// assert_eq!(config.rows_max, 200);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizeConfig {
    /// The most rows of a batch: 1 to [`SizeConfig::ROWS_MAX_LIMIT`], 200 by default. On hot rows
    /// more do not write faster, and hold their locks longer; up to that what a row costs falls.
    pub rows_max: u32,
    /// How long a batch should take: 1 ms to 10 s, 50 ms by default. A lock that is held for so
    /// long is not noticed by a person, and a commit of a few milliseconds is still a small part
    /// of it. Where what a batch takes whatever its rows are is more than about half of that, it may take twice as long as
    /// that is ([`Constraint::FixedTime`](super::Constraint::FixedTime)): no size would take much less.
    pub target: Duration,
    /// The most bytes of a batch: at least 1, 1 MiB by default, which a connection sends within a
    /// few milliseconds and a server holds many times over.
    pub bytes_max: usize,
    /// How many may wait for locks while we write: 2 by default. Somebody always waits for a moment
    /// on a busy table; three and more are a queue. With more, batches become smaller or fewer: it
    /// writes for a sixteenth of the time at least, and no rest is longer than twenty targets.
    pub waiters_max: u32,
    /// How far replicas may be behind; `None`, the default, for a database without any, or whose
    /// lag is nobody's concern: then nothing is asked and nothing is paused.
    pub lag_max: Option<Duration>,
    /// What to do while nothing is known about the replicas; only of meaning with `lag_max`.
    pub unknown_lag: UnknownLag,
    /// How long nothing at all is written because of replicas: 100 ms to an hour, 10 s by default.
    /// Then one batch of the smallest size passes, so that a replica which is gone for good slows
    /// the writer down instead of stopping it.
    pub pause_max: Duration,
}

/// What to do while nothing is known about the replicas: nobody has looked, the look failed, or it
/// is too long ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownLag {
    /// Writes as if there were no replica.
    Proceed,
    /// Writes a tenth of the cap at once, and then rests as long as that took. The default: it goes
    /// on, and no replica that keeps up with half of the writes falls behind.
    #[default]
    Slow,
    /// Writes as if the replicas were over their limit: one smallest batch each
    /// [`pause_max`](SizeConfig::pause_max).
    Pause,
}

/// Refuses a [`SizeConfig`] whose numbers are out of range; the message names the bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {value}, but must be from {least} to {most}")]
pub struct InvalidSize {
    what: &'static str,
    value: String,
    least: String,
    most: String,
}

// === impl SizeConfig ===

impl SizeConfig {
    /// The highest cap on rows: 65,535, as many as a statement can have parameters.
    pub const ROWS_MAX_LIMIT: u32 = 65_535;

    /// How old a look may be before it tells nothing any more: 300 ms, three looks of the
    /// [`BatchWriter`](crate::batch::BatchWriter).
    pub const LOOK_VALID: Duration = Duration::from_millis(300);

    /// No rest is longer than so many targets, a second by default.
    pub(super) const REST_TARGETS: u32 = 20;

    const TARGET: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(10));
    const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3_600));

    pub(super) fn check(&self) -> Result<(), InvalidSize> {
        let rows = i64::from(self.rows_max);
        within("rows_max", &rows, &1, &i64::from(Self::ROWS_MAX_LIMIT))?;
        within("target", &self.target, &Self::TARGET.0, &Self::TARGET.1)?;
        within("bytes_max", &self.bytes_max, &1, &usize::MAX)?;
        within("pause_max", &self.pause_max, &Self::PAUSE.0, &Self::PAUSE.1)
    }
}

fn within<T: PartialOrd + std::fmt::Debug>(
    what: &'static str,
    value: &T,
    least: &T,
    most: &T,
) -> Result<(), InvalidSize> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(InvalidSize {
        what,
        value: format!("{value:?}"),
        least: format!("{least:?}"),
        most: format!("{most:?}"),
    })
}

impl Default for SizeConfig {
    fn default() -> Self {
        Self {
            rows_max: 200,
            target: Duration::from_millis(50),
            bytes_max: 1 << 20,
            waiters_max: 2,
            lag_max: None,
            unknown_lag: UnknownLag::default(),
            pause_max: Duration::from_secs(10),
        }
    }
}
