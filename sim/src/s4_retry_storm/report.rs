//! What a run amounts to.

use std::fmt;
use std::time::Duration;

use super::{CAPACITY, END, FAULT_FROM, FAULT_UNTIL, LEFT};

/// The length of a bin, fine enough to tell one second from the next.
const BIN: Duration = Duration::from_millis(100);

/// A bin in which fewer of the requests than this are answered in time is not healthy.
const HEALTHY: f64 = 0.95;

/// Says how a run went.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Requests that came in each bin, and how many of them were answered in time.
    bins: Vec<(u64, u64)>,
    attempts: u64,
    attempts_after: u64,
    answered_in_fault: u64,
    done_in_fault: u64,
    busy_in_fault_ns: u64,
}

// === impl Report ===

impl Report {
    pub(super) fn new() -> Self {
        Self {
            bins: vec![(0, 0); bin(END.as_nanos() as u64)],
            attempts: 0,
            attempts_after: 0,
            answered_in_fault: 0,
            done_in_fault: 0,
            busy_in_fault_ns: 0,
        }
    }

    pub(super) fn requested(&mut self, now: u64) {
        self.bins[bin(now)].0 += 1;
    }

    pub(super) fn attempted(&mut self, now: u64) {
        self.attempts += 1;
        if u128::from(now) >= FAULT_UNTIL.as_nanos() {
            self.attempts_after += 1;
        }
    }

    /// A request was answered in time; it counts for the moment in which it came.
    pub(super) fn answered(&mut self, came: u64, now: u64) {
        self.bins[bin(came)].1 += 1;
        if in_fault(now) {
            self.answered_in_fault += 1;
        }
    }

    pub(super) fn worked(&mut self, began: u64, now: u64) {
        if in_fault(began) && in_fault(now) {
            self.done_in_fault += 1;
            self.busy_in_fault_ns += now - began;
        }
    }

    /// Returns the attempts for each request, over the whole run.
    #[must_use]
    pub fn attempts_per_request(&self) -> f64 {
        self.attempts as f64 / requests(&self.bins) as f64
    }

    /// Returns the attempts for each request after the fault.
    #[must_use]
    pub fn attempts_per_request_after(&self) -> f64 {
        let after = &self.bins[bin(FAULT_UNTIL.as_nanos() as u64)..];
        self.attempts_after as f64 / requests(after) as f64
    }

    /// Returns the answers in time during the fault, as a part of the healthy capacity.
    #[must_use]
    pub fn served_in_fault(&self) -> f64 {
        let seconds = (FAULT_UNTIL - FAULT_FROM).as_secs_f64();
        self.answered_in_fault as f64 / seconds / CAPACITY
    }

    /// Returns [`served_in_fault`](Self::served_in_fault) as it would be if the services drawn
    /// during the fault had taken exactly as long as they do on average.
    ///
    /// Three thousand services of random length take a few percent more or less in all, which is
    /// luck and no merit; `mean_ns` is their mean under the fault.
    #[must_use]
    pub fn served_in_fault_without_luck(&self, mean_ns: f64) -> f64 {
        let drawn_ns = self.busy_in_fault_ns as f64 / self.done_in_fault as f64;
        self.served_in_fault() * drawn_ns / mean_ns
    }

    /// Returns the part of the requests that were answered in time before the fault.
    #[must_use]
    pub fn answered_before(&self) -> f64 {
        share(&self.bins[..bin(FAULT_FROM.as_nanos() as u64)])
    }

    /// Returns the part of the requests of the last ten seconds that were answered in time.
    #[must_use]
    pub fn answered_at_the_end(&self) -> f64 {
        let last = self.bins.len() - 100;
        share(&self.bins[last..])
    }

    /// Returns how long after the fault the last bin was not healthy, or `None` if that was so
    /// until the end.
    #[must_use]
    pub fn recovered_after(&self) -> Option<Duration> {
        let after = &self.bins[bin(FAULT_UNTIL.as_nanos() as u64)..];
        let last_bad = after.iter().rposition(|bin| share(&[*bin]) < HEALTHY);
        match last_bad {
            None => Some(Duration::ZERO),
            Some(last) if last + 10 >= after.len() => None,
            Some(last) => Some(BIN * (last as u32 + 1)),
        }
    }
}

/// One row of a table: recovery, service during the fault, attempts, and the end.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.recovered_after() {
            Some(after) => write!(f, "recovers after {:4.1} s", after.as_secs_f64())?,
            None => f.write_str("never recovers     ")?,
        }
        write!(
            f,
            ", {:4.1} % of capacity in the fault (of {:.0} %), {:.2} attempts a request, {:5.1} % \
             answered at the end",
            self.served_in_fault() * 100.0,
            LEFT * 100.0,
            self.attempts_per_request(),
            self.answered_at_the_end() * 100.0
        )
    }
}

fn share(bins: &[(u64, u64)]) -> f64 {
    let answered: u64 = bins.iter().map(|(_, answered)| answered).sum();
    answered as f64 / requests(bins).max(1) as f64
}

fn requests(bins: &[(u64, u64)]) -> u64 {
    bins.iter().map(|(requests, _)| requests).sum()
}

fn bin(at: u64) -> usize {
    (at / BIN.as_nanos() as u64) as usize
}

fn in_fault(at: u64) -> bool {
    (FAULT_FROM.as_nanos()..FAULT_UNTIL.as_nanos()).contains(&u128::from(at))
}
