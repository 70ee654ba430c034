use std::time::Duration;

use tokio::runtime::Handle;

use super::dog::{Config, Dog, StartError};
use super::heart::{self, RuntimesFull};
use super::time;
use crate::clock;
use crate::context::Name;

/// Starts a watchdog that has no thread and no clock: a test moves its time by hand.
///
/// There is one watchdog in a process, so this blocks the thread until any other has ended: tests
/// that use it take turns. A test still sees the locks and the work of
/// others that run beside it; it should look for its own names.
///
/// # Errors
/// As [`start`](super::start), when a number of `config` is out of range.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use std::time::Duration;
/// use steadfast::watch::{self, Config};
///
/// let second = Duration::from_secs(1);
/// let limits = Config { stall_limit: second, wait_limit: second, unpolled_limit: second, tick: second };
/// let mut watchdog = watch::start_by_hand(limits).unwrap();
///
/// let import = watch::progress("import", second).unwrap();
/// watchdog.advance(second);
/// assert!(!import.is_stuck());
/// watchdog.advance(4 * second);
/// assert!(import.is_stuck());
/// ```
pub fn start_by_hand(config: Config) -> Result<ByHand, StartError> {
    let dog = Dog::begin_in_turn(config)?;
    let now = clock::real_nanos();
    time::publish(Some(now));
    Ok(ByHand { dog, now })
}

/// A watchdog that looks when it is told to; made by [`start_by_hand`].
#[must_use = "the watchdog stops when this is dropped"]
pub struct ByHand {
    dog: Dog,
    now: u64,
}

impl ByHand {
    /// Moves the time of the watch, and has the watchdog look. Events come before it returns.
    pub fn advance(&mut self, by: Duration) {
        let by_ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.now = self.now.saturating_add(by_ns);
        self.dog.tick(self.now);
    }

    /// Watches a runtime, as [`Watchdog::watch_runtime`](super::Watchdog::watch_runtime) does.
    ///
    /// # Errors
    /// [`RuntimesFull`]; retrying helps once another runtime has ended.
    pub fn watch_runtime(
        &self,
        name: impl Into<Name>,
        runtime: &Handle,
    ) -> Result<(), RuntimesFull> {
        heart::watch(name.into(), runtime)
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        self.dog.end();
    }
}

impl std::fmt::Debug for ByHand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByHand")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}
