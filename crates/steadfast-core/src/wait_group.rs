//! Waits for many tasks, without the two bugs of the classic wait group.
//!
//! A counter that anybody may raise and lower goes negative when somebody lowers it twice, and
//! lets a waiter through when somebody raises it too late. And a task that panics between the
//! two either never lowers it, so that the waiter hangs, or lowers it while unwinding, so that it
//! looks like a finished one.
//!
//! Here membership is a value. A [`Member`] comes from the group or from another member and ends
//! once, by [`done`](Member::done) or by its drop; [`WaitGroup::wait`] consumes the group. So
//! nobody can join after the wait is over, and the [`Finished`] that it gives tells members that
//! were done, that panicked, and that were dropped on the way apart.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::context::Name;
use crate::panic::Panic;
use crate::recover_async;
use crate::task::{Task, spawn};

/// How many panics a group keeps: 64, the first ones; all are counted, and reported when they
/// happen.
pub const PANICS_MAX: usize = 64;

/// A group of tasks or threads that is waited for as one.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use steadfast::WaitGroup;
///
/// let group = WaitGroup::new();
/// for i in 0..3 {
///     group.spawn("part", async move { assert!(i < 2, "part {i} is one too many") });
/// }
/// let finished = group.wait().await;
/// assert_eq!((finished.done, finished.panicked), (2, 1));
/// assert_eq!(finished.panics[0].message(), "part 2 is one too many");
/// # }
/// ```
#[derive(Debug, Default)]
pub struct WaitGroup {
    shared: Arc<Shared>,
}

/// Takes part in a [`WaitGroup`] until it is [`done`](Self::done) or dropped.
///
/// A clone is another member.
#[must_use = "dropping it at once counts as a member that was not done"]
pub struct Member {
    /// There until it has left.
    shared: Option<Arc<Shared>>,
}

/// What has become of the members of a group.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Finished {
    /// How many said that they are done.
    pub done: usize,
    /// How many panicked.
    pub panicked: usize,
    /// How many were dropped without a word: aborted tasks, early returns.
    pub dropped: usize,
    /// The first [`PANICS_MAX`] panics of tasks that the group started itself.
    pub panics: Vec<Panic>,
}

impl Finished {
    /// Tells whether every member was done.
    pub fn is_ok(&self) -> bool {
        self.panicked == 0 && self.dropped == 0
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            done,
            panicked,
            dropped,
            ..
        } = self;
        write!(f, "{done} done, {panicked} panicked, {dropped} dropped")
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    idle: Notify,
    idle_blocking: Condvar,
}

#[derive(Default)]
struct State {
    members: usize,
    finished: Finished,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>) -> Member {
        self.state().members += 1;
        Member {
            shared: Some(self.clone()),
        }
    }

    fn leave(&self, account: impl FnOnce(&mut Finished)) {
        let mut state = self.state();
        account(&mut state.finished);
        state.members -= 1;
        let idle = state.members == 0;
        drop(state);
        if idle {
            self.idle.notify_waiters();
            self.idle_blocking.notify_all();
        }
    }
}

impl WaitGroup {
    /// Makes a group without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a member.
    pub fn member(&self) -> Member {
        self.shared.join()
    }

    /// Starts a task that is a member, see [`spawn`](crate::spawn()).
    ///
    /// Its panic is kept for [`Finished::panics`], whether or not the task is joined as well.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[track_caller]
    pub fn spawn<R, F>(&self, name: impl Into<Name>, future: F) -> Task<R>
    where
        R: Send + 'static,
        F: Future<Output = R> + Send + 'static,
    {
        let member = self.member();
        spawn(name, async move {
            match recover_async(future).await {
                Ok(output) => {
                    member.done();
                    output
                }
                Err(panic) => {
                    member.panicked(panic.clone());
                    panic.resume()
                }
            }
        })
    }

    /// Waits until no member is left. Members may still add others meanwhile; without any
    /// member it returns at once.
    ///
    /// # Cancel safety
    /// The members go on when this is dropped; what became of them is lost.
    pub async fn wait(self) -> Finished {
        loop {
            let mut idle = std::pin::pin!(self.shared.idle.notified());
            // Before the look, so that an end between the two is not missed.
            idle.as_mut().enable();
            if let Some(finished) = self.finished() {
                return finished;
            }
            idle.await;
        }
    }

    /// Waits like [`wait`](Self::wait), and blocks the calling thread.
    pub fn wait_blocking(self) -> Finished {
        let mut state = self.shared.state();
        while state.members > 0 {
            let waited = self.shared.idle_blocking.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut state.finished)
    }

    fn finished(&self) -> Option<Finished> {
        let mut state = self.shared.state();
        (state.members == 0).then(|| std::mem::take(&mut state.finished))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Shared")
            .field("members", &state.members)
            .field("finished", &state.finished)
            .finish_non_exhaustive()
    }
}

impl Member {
    /// Ends the membership well.
    pub fn done(self) {
        self.leave(|finished| finished.done += 1);
    }

    fn panicked(self, panic: Panic) {
        self.leave(|finished| {
            finished.panicked += 1;
            if finished.panics.len() < PANICS_MAX {
                finished.panics.push(panic);
            }
        });
    }

    fn leave(mut self, account: impl FnOnce(&mut Finished)) {
        if let Some(shared) = self.shared.take() {
            shared.leave(account);
        }
    }
}

impl Clone for Member {
    fn clone(&self) -> Self {
        let shared = self.shared.as_ref();
        shared.expect("a member that has left is consumed").join()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let Some(shared) = self.shared.take() else {
            return;
        };
        let panicking = std::thread::panicking();
        shared.leave(|finished| match panicking {
            true => finished.panicked += 1,
            false => finished.dropped += 1,
        });
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").finish_non_exhaustive()
    }
}
