use std::io;
use std::ops::RangeInclusive;

use crate::context::Name;

/// What a pool is made of.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::pool::PoolConfig;
///
/// let config = PoolConfig {
///     queue_max: 64,
///     ..PoolConfig::new("thumbnails", 8)
/// };
/// assert_eq!(config.workers, 8);
/// ```
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Names the pool in reports and scope paths, and the threads of a blocking one.
    pub name: Name,
    /// How many tasks run at the same time: 1 to [`PoolConfig::WORKERS_MAX`], for a blocking pool
    /// to [`PoolConfig::THREADS_MAX`]. There is no default: only the caller knows what the tasks
    /// use up.
    pub workers: usize,
    /// How many tasks of one tier wait for a worker: 1 to [`PoolConfig::QUEUE_MAX_LIMIT`],
    /// [`PoolConfig::QUEUE_MAX_DEFAULT`] by default.
    pub queue_max: usize,
}

impl PoolConfig {
    /// The default bound of the queue of a tier: 1,024 tasks. At 8 workers and 1 ms a task that
    /// is an eighth of a second of waiting; a longer queue makes answers late rather than work
    /// possible.
    pub const QUEUE_MAX_DEFAULT: usize = 1_024;

    /// The highest bound of a queue: 1,048,576 tasks, about a gigabyte of small ones.
    pub const QUEUE_MAX_LIMIT: usize = 1 << 20;

    /// The most workers of a pool: 65,536, more than there are local ports to wait for answers
    /// on.
    pub const WORKERS_MAX: usize = 1 << 16;

    /// The most threads of a blocking pool: 1,024, far above the cores of a machine and below
    /// the process limits of the usual container.
    pub const THREADS_MAX: usize = 1_024;

    /// Describes a pool with the default queue.
    pub fn new(name: impl Into<Name>, workers: usize) -> Self {
        Self {
            name: name.into(),
            workers,
            queue_max: Self::QUEUE_MAX_DEFAULT,
        }
    }

    /// Describes a blocking pool with a thread for each core that the process may use: work that
    /// only computes gains nothing from more of them.
    pub fn per_core(name: impl Into<Name>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(name, cores.min(Self::THREADS_MAX))
    }

    pub(super) fn check(&self, workers_max: usize) -> Result<(), PoolError> {
        check_workers(self.workers, workers_max)?;
        within("queue_max", self.queue_max, 1..=Self::QUEUE_MAX_LIMIT)
    }
}

pub(super) fn check_workers(workers: usize, workers_max: usize) -> Result<(), PoolError> {
    within("workers", workers, 1..=workers_max)
}

fn within(
    what: &'static str,
    value: usize,
    allowed: RangeInclusive<usize>,
) -> Result<(), PoolError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(PoolError(Refusal::OutOfRange {
        what,
        value,
        allowed,
    }))
}

/// Says why a pool cannot be made or resized.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct PoolError(#[from] Refusal);

#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{what} is {value}, but must be from {} to {}", allowed.start(), allowed.end())]
    OutOfRange {
        what: &'static str,
        value: usize,
        allowed: RangeInclusive<usize>,
    },
    #[error("a pool of async tasks must be made inside a tokio runtime, which runs its workers")]
    NoRuntime,
    #[error("could not start {missing} of the worker threads")]
    NoThread { missing: usize, source: io::Error },
}

impl PoolError {
    /// Tells whether a value of the config is out of its range; the message states the range.
    pub fn is_out_of_range(&self) -> bool {
        matches!(self.0, Refusal::OutOfRange { .. })
    }

    /// Tells whether there was no tokio runtime around.
    pub fn is_no_runtime(&self) -> bool {
        matches!(self.0, Refusal::NoRuntime)
    }

    /// Tells whether the system refused to start a thread; a retry may help.
    pub fn is_no_thread(&self) -> bool {
        matches!(self.0, Refusal::NoThread { .. })
    }
}
