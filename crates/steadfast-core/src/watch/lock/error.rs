use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, Hold};
use super::waits;
use crate::context::Name;
use crate::watch::{Holder, time};

/// Says that a lock was not taken, and who has it.
#[derive(Debug, Clone)]
pub struct LockError {
    lock: Name,
    why: Why,
    /// Boxed, because it is large and on no good path.
    holder: Option<Box<Holder>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Busy { circle: bool },
    TimedOut(Duration),
    Circle,
}

impl LockError {
    /// It was held, and the caller does not wait.
    pub(super) fn busy(core: &Arc<Core>, waiter: &Hold) -> Self {
        let circle = waits::would_close_circle(core, waiter);
        Self::new(core, Why::Busy { circle })
    }

    pub(super) fn timed_out(core: &Arc<Core>, limit: Duration) -> Self {
        Self::new(core, Why::TimedOut(limit))
    }

    pub(super) fn circle(core: &Arc<Core>) -> Self {
        Self::new(core, Why::Circle)
    }

    fn new(core: &Arc<Core>, why: Why) -> Self {
        let holder = core.holder();
        Self {
            lock: core.name,
            why,
            holder: holder.map(|holder| Box::new(holder.describe(time::now()))),
        }
    }

    /// Gives the name of the lock.
    pub fn lock(&self) -> Name {
        self.lock
    }

    /// Gives who held the lock; `None` if it was on its way from one to the next.
    pub fn holder(&self) -> Option<&Holder> {
        self.holder.as_deref()
    }

    /// Tells whether the limit of `lock_within` was over.
    pub fn is_timeout(&self) -> bool {
        matches!(self.why, Why::TimedOut(_))
    }

    /// Tells whether waiting for the lock closes a circle of waits, so that trying again is of no
    /// use before the caller has let go of what it holds.
    pub fn is_cycle(&self) -> bool {
        matches!(self.why, Why::Circle | Why::Busy { circle: true })
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.lock)?;
        match self.why {
            Why::Busy { circle: false } => f.write_str("is held"),
            Why::Busy { circle: true } => f.write_str("is held by one who waits for the caller"),
            Why::TimedOut(limit) => write!(f, "was not free within {limit:?}: held"),
            Why::Circle => f.write_str("is held by one who waits for the caller"),
        }?;
        match &self.holder {
            Some(holder) if self.is_cycle() => write!(f, ": {holder}"),
            Some(holder) => write!(f, " by {holder}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LockError {}
