//! What the user decides once: strategy, intensity, limits, and the terms of each child.

use super::End;
use crate::decide::backoff::Backoff;
use crate::decide::window::{InvalidWindow, Window};
use std::time::Duration;

/// Says who is affected when a child must be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Restarts the child that ended, and no other: for children that do not need each other.
    OneForOne,
    /// Stops all other children, then starts all: for children that are only right together.
    OneForAll,
    /// Stops the children after the one that ended, then starts it and them: for children that
    /// each need the ones before.
    RestForOne,
}

/// Says whether a child that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Restart {
    /// Always, however it ended: for what must run as long as the group does.
    Permanent,
    /// Only if it ended [abnormally](End::is_normal): for work that has an end.
    Transient,
    /// Never, not even when a sibling's end took it down; once ended it is removed from the
    /// group: for work that someone else will ask for again.
    Temporary,
}

/// Bounds the restarts of a whole group: at most so many within so long.
///
/// The window slides: exactly `restarts` within any stretch of `within` are allowed, the one
/// after that ends the group. All restarts of all children count, one for each failure, however
/// many siblings are restarted with it. OTP's default is one within five seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intensity {
    window: Window,
}

/// Bounds the time a child gets to stop after it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopLimit {
    /// Gets no time: it is aborted without being asked. OTP's `brutal_kill`.
    Immediate,
    /// Is aborted when it has not ended after this long.
    Within(Duration),
    /// Is never aborted: only for a child that is itself a group, whose own children have limits.
    /// Anything else may keep the process from ever stopping. OTP's `infinity`.
    Unbounded,
}

/// Says whether the group stops itself when its significant children are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AutoShutdown {
    /// It does not; a significant child is then a mistake and rejected.
    #[default]
    Never,
    /// It stops when any significant child has ended and is not restarted.
    AnySignificant,
    /// It stops when the last significant child has ended and is not restarted.
    AllSignificant,
}

/// Holds the terms of one child.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use std::time::Duration;
/// use steadfast::decide::restart::{ChildSpec, Restart, StopLimit};
///
/// let warm_cache = ChildSpec::new(Restart::Permanent)
///     .with_ready_within(Duration::from_secs(120))?
///     .with_stop_limit(StopLimit::Immediate)?;
/// # Ok::<(), steadfast_core::decide::restart::InvalidRules>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildSpec {
    pub(super) restart: Restart,
    pub(super) significant: bool,
    pub(super) stop_limit: StopLimit,
    pub(super) ready_within: Duration,
}

/// Holds the rules of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    pub(super) strategy: Strategy,
    pub(super) intensity: Intensity,
    pub(super) backoff: Backoff,
    pub(super) auto_shutdown: AutoShutdown,
    pub(super) abort_limit: Duration,
}

/// Refuses rules whose numbers are out of range.
///
/// The message names the bound. Trying again with the same numbers fails again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidRules(#[from] Refusal);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("restart intensity is out of range")]
    Intensity(#[source] InvalidWindow),
    #[error("{name} of {given:?} is not between 1 ns and {bound:?}", bound = ChildSpec::LONGEST)]
    Limit { name: &'static str, given: Duration },
}

// === impl Restart ===

impl Restart {
    /// Returns whether a child of this kind is started again after it ended like this.
    #[must_use]
    pub fn restarts_after(self, end: End) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => !end.is_normal(),
            Self::Temporary => false,
        }
    }
}

// === impl Intensity ===

impl Intensity {
    /// Allows `restarts` within any stretch of `within`.
    ///
    /// With zero restarts, the first child that would have to be restarted ends the group.
    ///
    /// # Errors
    ///
    /// [`InvalidRules`] if `restarts` is over [`Window::MAX_LIMIT`], or `within` is zero or over
    /// [`Window::MAX_PERIOD`].
    pub fn new(restarts: u32, within: Duration) -> Result<Self, InvalidRules> {
        let window = Window::new(restarts, within).map_err(Refusal::Intensity)?;
        Ok(Self { window })
    }

    /// Returns how many restarts are allowed.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.window.limit()
    }

    /// Returns the length of the stretch within which they are counted.
    #[must_use]
    pub fn within(&self) -> Duration {
        self.window.period()
    }

    /// Returns an empty window to count in.
    pub(super) fn window(&self) -> Window {
        self.window.clone()
    }
}

// === impl ChildSpec ===

impl ChildSpec {
    /// The longest limit for getting ready, stopping or being aborted: one day. What takes longer
    /// is work, not starting or stopping.
    pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    /// Five seconds to stop, as in OTP: ample for in-flight work that was told to end, and several
    /// children fit into the thirty seconds that most platforms grant a process.
    pub const DEFAULT_STOP_LIMIT: StopLimit = StopLimit::Within(Duration::from_secs(5));

    /// Thirty seconds to get ready, so that a start that hangs is found while someone is still
    /// watching it.
    pub const DEFAULT_READY_WITHIN: Duration = Duration::from_secs(30);

    /// Makes the terms of a child with the default limits, not significant.
    #[must_use]
    pub fn new(restart: Restart) -> Self {
        Self {
            restart,
            significant: false,
            stop_limit: Self::DEFAULT_STOP_LIMIT,
            ready_within: Self::DEFAULT_READY_WITHIN,
        }
    }

    /// Sets how long the child gets to stop;
    /// [`DEFAULT_STOP_LIMIT`](Self::DEFAULT_STOP_LIMIT) unless set.
    ///
    /// # Errors
    ///
    /// [`InvalidRules`] if the limit is zero (say [`StopLimit::Immediate`]) or over
    /// [`LONGEST`](Self::LONGEST).
    pub fn with_stop_limit(mut self, limit: StopLimit) -> Result<Self, InvalidRules> {
        if let StopLimit::Within(limit) = limit {
            in_range("stop limit", limit)?;
        }
        self.stop_limit = limit;
        Ok(self)
    }

    /// Sets how long the child gets from its start until it is ready;
    /// [`DEFAULT_READY_WITHIN`](Self::DEFAULT_READY_WITHIN) unless set.
    ///
    /// # Errors
    ///
    /// [`InvalidRules`] if the limit is zero or over [`LONGEST`](Self::LONGEST).
    pub fn with_ready_within(mut self, limit: Duration) -> Result<Self, InvalidRules> {
        in_range("time to get ready", limit)?;
        self.ready_within = limit;
        Ok(self)
    }

    /// Makes the child one whose end may stop the whole group, by [`AutoShutdown`].
    #[must_use]
    pub fn significant(mut self) -> Self {
        self.significant = true;
        self
    }
}

// === impl Rules ===

impl Rules {
    /// Six seconds from abort to being written off.
    ///
    /// An aborted task ends at its next await, which well-behaved code reaches within
    /// milliseconds. What it holds is given back by cleanups, each of which may take
    /// [five seconds](crate::scope::CLEANUP_LIMIT); a sibling that needs the same must not start
    /// before. One second more is a task that blocks its thread.
    pub const DEFAULT_ABORT_LIMIT: Duration = Duration::from_secs(6);

    /// Makes rules with the default backoff and abort limit that never stop by themselves.
    ///
    /// Intensity has no default: how often a child may fail before its group must is policy.
    #[must_use]
    pub fn new(strategy: Strategy, intensity: Intensity) -> Self {
        Self {
            strategy,
            intensity,
            backoff: Backoff::default(),
            auto_shutdown: AutoShutdown::default(),
            abort_limit: Self::DEFAULT_ABORT_LIMIT,
        }
    }

    /// Returns who is affected by a restart.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// Returns the bound of the restarts.
    #[must_use]
    pub fn intensity(&self) -> &Intensity {
        &self.intensity
    }

    /// Sets the wait between a failure and the restart; [`Backoff::default`] unless set.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets when the group stops itself; [`AutoShutdown::Never`] unless set.
    #[must_use]
    pub fn with_auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
        self
    }

    /// Sets how long an aborted child may take to end before it is written off;
    /// [`DEFAULT_ABORT_LIMIT`](Self::DEFAULT_ABORT_LIMIT) unless set.
    ///
    /// # Errors
    ///
    /// [`InvalidRules`] if the limit is zero or over [`ChildSpec::LONGEST`].
    pub fn with_abort_limit(mut self, limit: Duration) -> Result<Self, InvalidRules> {
        in_range("abort limit", limit)?;
        self.abort_limit = limit;
        Ok(self)
    }
}

fn in_range(name: &'static str, given: Duration) -> Result<(), Refusal> {
    if given.is_zero() || given > ChildSpec::LONGEST {
        return Err(Refusal::Limit { name, given });
    }
    Ok(())
}
