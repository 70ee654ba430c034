//! The usual breaker, for comparison: one probe decides, and then all calls pass.

use std::collections::VecDeque;

use super::trips::{Guarding, Passed};

/// Trips at a quarter of the last hundred calls, stays open for as long each time, and lets one
/// call decide whether it is over.
#[derive(Clone, Debug)]
pub struct OneProbe {
    open_ns: u64,
    /// Whether a probe whose caller went away keeps its permit.
    leaks: bool,
    last: VecDeque<bool>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    OpenUntil(u64),
    HalfOpen,
}

const LAST: usize = 100;
const LEAST: usize = 20;

// === impl OneProbe ===

impl OneProbe {
    /// Makes one that stays open for so many nanoseconds.
    #[must_use]
    pub fn new(open_ns: u64, leaks: bool) -> Self {
        Self {
            open_ns,
            leaks,
            last: VecDeque::new(),
            state: State::Closed,
        }
    }
}

impl Guarding for OneProbe {
    fn ask(&mut self, now: u64) -> Option<Passed> {
        match self.state {
            State::Closed => Some(Passed::default()),
            State::OpenUntil(end) if end <= now => {
                self.state = State::HalfOpen;
                Some(Passed::default())
            }
            State::OpenUntil(_) | State::HalfOpen => None,
        }
    }

    fn ended(&mut self, _: Passed, failed: bool, _: u64, now: u64) {
        match self.state {
            State::Closed => {
                self.last.push_back(failed);
                if self.last.len() > LAST {
                    self.last.pop_front();
                }
                let failures = self.last.iter().filter(|failed| **failed).count();
                if self.last.len() >= LEAST && 4 * failures >= self.last.len() {
                    self.state = State::OpenUntil(now + self.open_ns);
                }
            }
            State::HalfOpen if failed => self.state = State::OpenUntil(now + self.open_ns),
            State::HalfOpen => {
                self.last.clear();
                self.state = State::Closed;
            }
            State::OpenUntil(_) => {}
        }
    }

    fn abandoned(&mut self, _: Passed, now: u64) {
        if self.state == State::HalfOpen && !self.leaks {
            self.state = State::OpenUntil(now);
        }
    }

    fn is_closed(&self, _: u64) -> bool {
        self.state == State::Closed
    }
}
