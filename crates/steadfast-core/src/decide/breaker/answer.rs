//! What a breaker says, and what it is told.

use std::time::Duration;

/// Answers whether a call may be made.
#[derive(Debug)]
#[must_use = "a permit that is dropped is lost to its round"]
pub struct Answer {
    /// The permit, or why there is none.
    pub verdict: Result<Permit, Rejected>,
    /// What the question has changed, for whoever reports it; each change is told once.
    pub change: Option<Change>,
}

/// Lets one call be made.
///
/// Give it back with the call's [end](super::Breaker::record), or
/// [abandon](super::Breaker::abandon) it if the call was not made, was rejected on the way, or
/// nobody waits for it any more. One that gets lost ends with its round.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "record how the call ended, or abandon the permit"]
pub struct Permit {
    pub(super) round: u16,
    pub(super) kind: PermitKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PermitKind {
    /// Of a closed breaker or a ramp: the call counts in the window.
    Counted,
    /// Of half-open: the call counts in its round.
    Probe,
    /// By word of an operator: the call does not count.
    Uncounted,
}

/// Tells how a call ended.
///
/// What was rejected by ourselves or whose caller went away has no end: abandon the permit. Whether
/// an answer is a failure is for the caller to say; a 404 is a good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallEnd {
    pub(super) failed: bool,
    pub(super) took: Duration,
}

/// Says why a call may not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// What the breaker does.
    pub by: RejectedBy,
    /// When the next call may pass at the earliest, or in a ramp, when all of them do.
    pub retry_after: Duration,
}

/// Says what a breaker was doing when it rejected a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectedBy {
    /// It is open.
    Open,
    /// It is half-open, and all probes of the round are under way.
    HalfOpen,
    /// It comes back, and this call is not in the share that passes yet.
    Ramp,
    /// An operator holds it open.
    Forced,
}

/// Tells what a breaker has just begun to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is open now.
    Tripped {
        /// Why.
        reason: TripReason,
        /// For how long.
        open_for: Duration,
    },
    /// A round of half-open begins.
    Probing,
    /// The round went well: the ramp begins.
    Recovering,
    /// All calls pass again.
    Recovered,
}

/// Says why a breaker tripped, with the numbers that it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TripReason {
    /// Too many calls of the window failed.
    FailureShare {
        /// The failures.
        failed: u32,
        /// All calls of the window.
        calls: u32,
    },
    /// Too many calls of the window were slow.
    SlowShare {
        /// The slow ones.
        slow: u32,
        /// All calls of the window.
        calls: u32,
    },
    /// Too many failures came without a success between them.
    Consecutive {
        /// How many.
        failures: u32,
    },
    /// Too many probes failed or were slow.
    Probes {
        /// Probes that failed.
        failed: u32,
        /// Probes that were slow.
        slow: u32,
        /// Probes that ended.
        ended: u32,
    },
    /// None of the probes came back in time.
    NoProbeCameBack,
}

/// What an operator makes a breaker do, for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Override {
    /// Reject all calls.
    Open,
    /// Let all calls pass and count them, but do not trip.
    Closed,
    /// Let all calls pass and count nothing, as if there were no breaker.
    Disabled,
}

/// Tells how a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerStatus {
    /// What it does, operators aside.
    pub state: BreakerState,
    /// What an operator makes it do instead, and for how much longer.
    pub forced: Option<(Override, Duration)>,
    /// The number of the last round of half-open; it wraps after 65,535.
    pub round: u16,
    /// The calls of the window.
    pub calls: WindowCounts,
    /// How many failures came since the last success.
    pub failures_in_a_row: u32,
}

/// What a breaker does with calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BreakerState {
    /// They pass.
    Closed,
    /// They are rejected.
    Open {
        /// For how much longer; zero if the next call begins a round.
        left: Duration,
    },
    /// Some pass as probes.
    HalfOpen {
        /// Probes that are under way.
        under_way: u32,
        /// Probes that ended.
        ended: u32,
    },
    /// A share of them passes.
    Ramp {
        /// The share, from 0 to 1.
        share: f64,
    },
}

/// Counts the calls of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowCounts {
    /// All of them.
    pub calls: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that were slow.
    pub slow: u32,
}

// === impl Answer ===

impl Answer {
    /// Says whether the call may be made.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.verdict.is_ok()
    }
}

// === impl Permit ===

impl Permit {
    /// Says whether the call probes a target that was down.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.kind == PermitKind::Probe
    }
}

// === impl CallEnd ===

impl CallEnd {
    /// Tells of a good answer that was there after a time.
    #[must_use]
    pub fn succeeded(took: Duration) -> Self {
        Self {
            failed: false,
            took,
        }
    }

    /// Tells of a failure after a time; a timeout is one.
    #[must_use]
    pub fn failed(took: Duration) -> Self {
        Self { failed: true, took }
    }
}
