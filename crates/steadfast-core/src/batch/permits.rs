use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock;
use crate::decide::batch::{InFlight, SizeConfig, Turns};

/// Permits for the batches of several writers to one database: a [`Look`](super::Look) that has some gives the same to
/// each of them, so that too many who wait for locks make fewer of them write at once
/// ([`InFlight`]).
///
/// Who comes first writes first. No writer waits for longer than twenty batches, or two for each writer where there are
/// more than ten: then it writes without a permit, since whoever has them may be held up at a table of its own.
///
/// A clone has the same permits.
#[derive(Clone, Default)]
pub struct Permits(Arc<Shared>);

struct Shared {
    line: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    batches: InFlight,
    /// How many permits there are, those that are out included: as many as there should be, or more until some come
    /// back.
    there: u32,
}

impl Permits {
    /// Makes permits for writers that are still to come.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets a writer take part, until that is dropped.
    pub(super) fn join(&self, config: &SizeConfig) -> Member {
        let shared = self.0.clone();
        shared.change(|batches| batches.joined(config.waiters_max));
        let (waiters_max, target) = (config.waiters_max, config.target);
        Member {
            shared,
            waiters_max,
            target,
        }
    }

    /// Learns how many wait for locks.
    pub(super) fn looked(&self, waiters: Option<u32>) {
        self.0
            .change(|batches| batches.looked(waiters, clock::nanos()));
    }
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permits")
            .field(&self.0.open().batches)
            .finish()
    }
}

/// A writer among others.
pub(super) struct Member {
    shared: Arc<Shared>,
    waiters_max: u32,
    target: Duration,
}

impl Member {
    pub(super) fn turns(&self) -> Turns {
        self.shared.open().batches.turns(clock::nanos())
    }

    /// Waits until this writer may write, or has waited for long enough.
    ///
    /// # Cancel safety
    /// When dropped it has lost its place in line, and nothing else.
    pub(super) async fn permit(&self) -> Permit<'_> {
        // What was seen may be too old by now.
        let wait_max = self.shared.change(|batches| batches.wait_max(self.target));
        let line = &self.shared.line;
        let permit = match line.try_acquire() {
            Ok(permit) => Some(permit),
            // Without one when it is late; it is never closed.
            Err(_) => match clock::timeout(wait_max, line.acquire()).await {
                Ok(permit) => permit.ok(),
                Err(_) => None,
            },
        };
        self.shared.change(InFlight::started);
        Permit {
            member: self,
            permit,
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.change(|batches| batches.left(self.waiters_max));
    }
}

/// The right to have one batch in flight.
pub(super) struct Permit<'a> {
    member: &'a Member,
    permit: Option<SemaphorePermit<'a>>,
}

impl Permit<'_> {
    /// Gives it back after a batch that was written, and took so long.
    pub(super) fn wrote(self, took: Duration) {
        let target = self.member.target;
        self.member
            .shared
            .change(|batches| batches.wrote(took, target));
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let shared = &self.member.shared;
        let mut state = shared.open();
        state.batches.ended();
        let is_too_many = state.there > state.batches.permits(clock::nanos());
        if let Some(permit) = self.permit.take().filter(|_| is_too_many) {
            permit.forget();
            state.there -= 1;
        }
    }
}

impl Shared {
    fn change<R>(&self, change: impl FnOnce(&mut InFlight) -> R) -> R {
        let mut state = self.open();
        let changed = change(&mut state.batches);
        let permits = state.batches.permits(clock::nanos());
        if permits > state.there {
            self.line.add_permits((permits - state.there) as usize);
            state.there = permits;
        } else {
            let fewer = self.line.forget_permits((state.there - permits) as usize);
            state.there -= fewer as u32;
        }
        changed
    }

    fn open(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            line: Semaphore::new(0),
            state: Mutex::default(),
        }
    }
}
