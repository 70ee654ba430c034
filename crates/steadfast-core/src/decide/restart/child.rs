//! One child: what it is doing, and what becomes of it when it has ended.

use super::rules::{ChildSpec, Restart, StopLimit};
use crate::decide::backoff::BackoffState;
use std::fmt;
use std::time::Duration;

/// Names a child of one group, for as long as the group lives; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub(super) u64);

/// Names one life of a child, from its start to its end.
///
/// A report about a life that is already over is told from one about the life that followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instance {
    /// The child that lives.
    pub child: ChildId,
    /// Which of its lives this is, counted from 1.
    pub run: u64,
}

/// Says how a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// It was done.
    Normal,
    /// It ended in good order because it was told to. OTP's `shutdown`.
    Stopped,
    /// It returned an error.
    Failed,
    /// It panicked, or its factory or its `Drop` did.
    Panicked,
    /// It was cut short without a say, such as an aborted task. OTP's `killed`.
    Cancelled,
    /// It was aborted because it did not get ready in time. Only told, never reported: the
    /// machine knows it by itself.
    NotReady,
}

/// Says what a child is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChildState {
    /// It does not live and will not be started without a reason from outside: never started,
    /// done, or stopped by hand.
    AtRest,
    /// It does not live and will be started, in its turn and not before this instant.
    Waiting {
        /// Nanoseconds; the end of the backoff, in the past if there is none.
        not_before: u64,
    },
    /// It lives and is not ready yet.
    Starting,
    /// It lives and is ready.
    Running,
    /// It lives and was asked to stop, or was aborted.
    Stopping,
    /// It was aborted and did not end in time; it may still live.
    WrittenOff,
}

/// Shows one child at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildView {
    /// The child.
    pub id: ChildId,
    /// What it is doing.
    pub state: ChildState,
    /// When it is restarted.
    pub restart: Restart,
    /// How often it was started, for whatever reason; the run of its newest [`Instance`].
    pub runs: u64,
    /// How many failures in a row its backoff counts.
    pub failures: u32,
}

/// The state of one child inside the machine.
#[derive(Clone, Debug)]
pub(super) struct Child {
    pub(super) id: ChildId,
    pub(super) spec: ChildSpec,
    pub(super) phase: Phase,
    pub(super) next: Next,
    pub(super) cause: Cause,
    /// It lives and is to be stopped, but its turn has not come.
    pub(super) doomed: bool,
    /// It was aborted for not getting ready, and for nothing else.
    pub(super) overdue: bool,
    pub(super) not_before: u64,
    pub(super) backoff: BackoffState,
    pub(super) run: u64,
}

/// What the newest instance of a child is doing; instants in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Down,
    Starting { until: u64 },
    Running { since: u64 },
    Stopping { until: Option<u64> },
    Aborting { until: u64 },
    WrittenOff,
}

/// What becomes of a child once it is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Rest,
    Start,
    Remove,
}

/// Why a child is being started, which says who pays when it does not get ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The group starts: the whole start fails.
    Initial,
    /// It was added: it is removed.
    Added,
    /// Someone asked for it: it stays at rest.
    Asked,
    /// A restart, or a child that was ready before: one more restart.
    Restart,
}

/// What a child was doing when it ended.
pub(super) enum Was {
    Expected,
    NotReady { overdue: bool },
    Ready { since: u64 },
}

// === impl ChildId ===

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl End ===

impl End {
    /// Returns whether nothing went wrong: [`Normal`](Self::Normal) and
    /// [`Stopped`](Self::Stopped). A transient child that ended so is not restarted.
    #[must_use]
    pub fn is_normal(self) -> bool {
        match self {
            Self::Normal | Self::Stopped => true,
            Self::Failed | Self::Panicked | Self::Cancelled | Self::NotReady => false,
        }
    }
}

// === impl Child ===

impl Child {
    pub(super) fn new(id: ChildId, spec: ChildSpec, backoff: BackoffState) -> Self {
        Self {
            id,
            spec,
            phase: Phase::Down,
            next: Next::Rest,
            cause: Cause::Initial,
            doomed: false,
            overdue: false,
            not_before: 0,
            backoff,
            run: 0,
        }
    }

    pub(super) fn instance(&self) -> Instance {
        Instance {
            child: self.id,
            run: self.run,
        }
    }

    /// Queues a child that is down.
    pub(super) fn queue(&mut self, cause: Cause, not_before: u64) {
        self.next = Next::Start;
        self.cause = cause;
        self.not_before = not_before;
    }

    /// Decides that what lives is to be stopped, and what is to follow.
    ///
    /// A removal that somebody asked for stays one.
    pub(super) fn doom(&mut self, next: Next) {
        if self.next != Next::Remove {
            self.next = next;
        }
        match self.phase {
            Phase::Starting { .. } | Phase::Running { .. } => self.doomed = true,
            // It is going down already, but from now on for our reason.
            Phase::Stopping { .. } | Phase::Aborting { .. } => self.overdue = false,
            Phase::Down | Phase::WrittenOff => {}
        }
    }

    pub(super) fn start(&mut self, now: u64) {
        self.run += 1;
        self.next = Next::Rest;
        self.phase = Phase::Starting {
            until: after(now, self.spec.ready_within),
        };
    }

    /// Asks the child to stop; false if it gets no time and is to be aborted at once.
    pub(super) fn ask_to_stop(&mut self, now: u64) -> bool {
        self.doomed = false;
        let until = match self.spec.stop_limit {
            StopLimit::Immediate => return false,
            StopLimit::Within(limit) => Some(after(now, limit)),
            StopLimit::Unbounded => None,
        };
        self.phase = Phase::Stopping { until };
        true
    }

    pub(super) fn abort(&mut self, now: u64, limit: Duration) {
        self.phase = Phase::Aborting {
            until: after(now, limit),
        };
    }

    /// Notes that nothing of the child lives any more.
    pub(super) fn lay_down(&mut self) -> Was {
        let was = match self.phase {
            _ if self.doomed => Was::Expected,
            Phase::Starting { .. } => Was::NotReady { overdue: false },
            Phase::Aborting { .. } if self.overdue => Was::NotReady { overdue: true },
            Phase::Running { since } => Was::Ready { since },
            Phase::Stopping { .. } | Phase::Aborting { .. } | Phase::WrittenOff | Phase::Down => {
                Was::Expected
            }
        };
        self.phase = Phase::Down;
        self.doomed = false;
        self.overdue = false;
        was
    }

    /// Returns when this child wants to be looked at, apart from being started.
    pub(super) fn deadline(&self) -> Option<u64> {
        match self.phase {
            // Its turn to be stopped comes first, and is bounded itself.
            Phase::Starting { .. } if self.doomed => None,
            Phase::Starting { until } | Phase::Aborting { until } => Some(until),
            Phase::Stopping { until } => until,
            Phase::Down | Phase::Running { .. } | Phase::WrittenOff => None,
        }
    }

    pub(super) fn is_queued(&self) -> bool {
        self.phase == Phase::Down && self.next == Next::Start
    }

    /// Returns whether the child lives, or may.
    pub(super) fn is_live(&self) -> bool {
        self.phase != Phase::Down
    }

    pub(super) fn is_going_down(&self) -> bool {
        matches!(self.phase, Phase::Stopping { .. } | Phase::Aborting { .. })
    }

    pub(super) fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. })
    }

    /// Returns whether the initial start still waits for this child.
    pub(super) fn holds_up_start(&self) -> bool {
        let undecided = match self.phase {
            Phase::Down => self.next == Next::Start,
            Phase::WrittenOff => false,
            Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Stopping { .. }
            | Phase::Aborting { .. } => true,
        };
        self.cause == Cause::Initial && undecided
    }

    pub(super) fn view(&self) -> ChildView {
        let state = match self.phase {
            Phase::Down if self.next == Next::Start => ChildState::Waiting {
                not_before: self.not_before,
            },
            Phase::Down => ChildState::AtRest,
            Phase::Starting { .. } => ChildState::Starting,
            Phase::Running { .. } => ChildState::Running,
            Phase::Stopping { .. } | Phase::Aborting { .. } => ChildState::Stopping,
            Phase::WrittenOff => ChildState::WrittenOff,
        };
        ChildView {
            id: self.id,
            state,
            restart: self.spec.restart,
            runs: self.run,
            failures: self.backoff.failures(),
        }
    }
}

/// Adds a limit to an instant; limits are at most a day, so the conversion is exact.
fn after(now: u64, limit: Duration) -> u64 {
    now.saturating_add(limit.as_nanos() as u64)
}
