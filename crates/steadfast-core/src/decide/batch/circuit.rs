//! Noticing that it is not the rows.

use crate::decide::backoff::{Backoff, BackoffState};

/// Stops giving up rows when one after the other fails and none succeeds: the table is gone, a
/// column is new, a right is missing. Rows wait then; now and then a few are tried.
///
/// One row that fails does not tell whether it is the row or the table, so each time twice as many are tried, up to
/// [`Circuit::PROBE_MAX`]: one that is written tells that the table takes rows, and so that those which fail again are bad. When as many rows in a row are bad they
/// wait, and all others behind them.
///
/// Time is nanoseconds of one monotonic clock.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::decide::{backoff::Backoff, batch::Circuit};
///
/// let mut circuit = Circuit::new(3, Backoff::default());
/// for _ in 0..3 {
///     assert!(circuit.state(0).is_closed());
///     circuit.bad(0, u64::MAX);
/// }
/// assert!(!circuit.state(0).may_write());
///
/// // After the wait of the backoff a row is tried, and is written.
/// assert!(circuit.state(100_000_000).may_write());
/// circuit.written();
/// assert!(circuit.state(100_000_000).is_closed());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Circuit {
    bad_max: u32,
    bad: u32,
    backoff: BackoffState,
    tries_at: Option<u64>,
    /// How many rows are tried then.
    probe: u32,
}

/// What a [`Circuit`] lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// Everything.
    Closed,
    /// Nothing before this instant.
    Open(u64),
    /// So many rows, each of them alone, until one is written.
    HalfOpen(u32),
}

impl Circuit {
    /// How many rows are tried at most: 16. As many failing transactions each few seconds are no load, and as many bad rows
    /// in a row without a good one are seldom.
    pub const PROBE_MAX: u32 = 16;

    /// Makes one that opens after so many bad rows in a row without a written one; with zero it
    /// opens after the first. `backoff` says when to try again.
    #[must_use]
    pub fn new(bad_max: u32, backoff: Backoff) -> Self {
        Self {
            bad_max,
            bad: 0,
            backoff: backoff.state(),
            tries_at: None,
            probe: 1,
        }
    }

    /// Says what is let through now.
    #[must_use]
    pub fn state(&self, now: u64) -> CircuitState {
        match self.tries_at {
            None => CircuitState::Closed,
            Some(at) if now < at => CircuitState::Open(at),
            Some(_) => CircuitState::HalfOpen(self.probe),
        }
    }

    /// Notes that rows were written: it was the rows.
    pub fn written(&mut self) {
        self.bad = 0;
        self.tries_at = None;
        self.backoff.reset();
    }

    /// Notes a row that failed alone; `random` are 64 random bits. Returns whether it is open.
    pub fn bad(&mut self, now: u64, random: u64) -> bool {
        self.bad = self.bad.saturating_add(1);
        if self.bad >= self.bad_max.max(1) {
            self.open(now, random);
        }
        self.tries_at.is_some()
    }

    /// Opens it at once: the failure said itself that it is not the rows, or none that was tried was written.
    pub fn open(&mut self, now: u64, random: u64) {
        self.probe = match self.tries_at {
            None => 1,
            Some(_) => (self.probe * 2).min(Self::PROBE_MAX),
        };
        let wait = self.backoff.next(random).as_nanos();
        let wait_ns = u64::try_from(wait).unwrap_or(u64::MAX);
        self.tries_at = Some(now.saturating_add(wait_ns));
    }
}

impl CircuitState {
    /// Tells whether everything is let through.
    #[must_use]
    pub fn is_closed(self) -> bool {
        self == CircuitState::Closed
    }

    /// Tells whether at least one row is let through.
    #[must_use]
    pub fn may_write(self) -> bool {
        !matches!(self, CircuitState::Open(_))
    }
}
