//! One-time initialization that can fail half-way and leave nothing behind.
//!
//! `OnceLock` and `OnceCell` know what to do when an initializer returns an error: nothing. What
//! it had opened, locked or registered by then stays, and the next caller opens it again. When
//! the initializer panics or its future is dropped, it is the same. And an initializer that comes
//! back to its own cell deadlocks.
//!
//! Here the initializer is a [`scope`](mod@crate::scope): what it registers as
//! [`undo`](crate::Scope::undo) is undone when it fails in any way, and only then may the next one
//! start. What happens after a failure is a choice: [retry](OnceInit::new),
//! [retry after a wait](OnceInit::with_backoff), or [never again](OnceInit::poisoning).
//!
//! # Examples
//! ```
//! # use steadfast_core as steadfast;
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use steadfast::{BoxError, OnceInit};
//!
//! static CONFIG: OnceInit<String> = OnceInit::new("config");
//!
//! let config = CONFIG
//!     .get_or_init(async |s| {
//!         s.undo("forget the registration", async || { /* … */ });
//!         Ok::<_, BoxError>("loaded".to_owned())
//!     })
//!     .await;
//! assert_eq!(config.unwrap(), "loaded");
//! assert_eq!(CONFIG.get().unwrap(), "loaded");
//! # }
//! ```

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::cancel::Cause;
use crate::clock::{self, Instant};
use crate::context::{self, AsNode, Name};
use crate::decide::backoff::Backoff;
use crate::rng;
use crate::scope::{Outcome, Scope, ScopeError, Verdict, scope};

/// A value that is initialized once, by the first caller that succeeds.
///
/// A read of the initialized value costs one atomic load.
pub struct OnceInit<T> {
    name: Name,
    value: OnceLock<T>,
    after_failure: AfterFailure,
    turn: OnceLock<Arc<Turn<T>>>,
}

#[derive(Debug, Clone, Copy)]
enum AfterFailure {
    Retry,
    Backoff(Backoff),
    Poison,
}

/// Who may initialize.
struct Turn<T> {
    /// One permit: the right to run an initializer. It is given back when the last cleanup of a
    /// failed one has run, wherever that is.
    permits: Arc<Semaphore>,
    state: Mutex<State<T>>,
}

struct State<T> {
    /// The scope of the initializer that runs, to recognize those who come from inside of it.
    running: Option<Weak<dyn AsNode>>,
    failures: u32,
    not_before: Option<Instant>,
    poisoned: Option<Arc<str>>,
    /// A value whose caller has left before it was there.
    kept: Option<T>,
}

impl<T> Turn<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, after: AfterFailure, reason: impl FnOnce() -> String) {
        let mut state = self.state();
        state.running = None;
        state.failures = state.failures.saturating_add(1);
        match after {
            AfterFailure::Retry => {}
            AfterFailure::Backoff(backoff) => {
                let wait = backoff.delay(state.failures, rng::bits());
                state.not_before = clock::now().checked_add(wait);
            }
            AfterFailure::Poison => state.poisoned = Some(reason().into()),
        }
    }

    fn keep(&self, value: T) {
        let mut state = self.state();
        state.running = None;
        state.kept = Some(value);
    }
}

impl<T> OnceInit<T> {
    /// Makes a cell whose next caller tries again at once after a failure.
    pub const fn new(name: &'static str) -> Self {
        Self::with(name, AfterFailure::Retry)
    }

    /// Makes a cell whose next caller waits after a failure, for as long as `backoff` says.
    pub const fn with_backoff(name: &'static str, backoff: Backoff) -> Self {
        Self::with(name, AfterFailure::Backoff(backoff))
    }

    /// Makes a cell that stays failed after its first failure: for what must not be tried twice.
    pub const fn poisoning(name: &'static str) -> Self {
        Self::with(name, AfterFailure::Poison)
    }

    const fn with(name: &'static str, after_failure: AfterFailure) -> Self {
        Self {
            name: Name::new(name),
            value: OnceLock::new(),
            after_failure,
            turn: OnceLock::new(),
        }
    }

    /// Gives the value if it is initialized.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Gives the value; if there is none, runs `init` in a scope with the name of the cell.
    ///
    /// Concurrent callers wait for the one whose turn it is; when that one fails, the next runs
    /// its own `init`, but only after all cleanups of the failed one have run.
    ///
    /// # Errors
    /// - [`OnceError::Failed`]: `init` gave an error, panicked, or was cancelled; a later call may
    ///   succeed, except with [`poisoning`](Self::poisoning).
    /// - [`OnceError::Reentrant`]: called from inside of the initializer of this cell, which would
    ///   wait for itself. Seen through scopes, children and calls; not through a task that was
    ///   started outside of the scope.
    /// - [`OnceError::Poisoned`]: it failed before and may not be tried again.
    ///
    /// # Panics
    /// [With a backoff](Self::with_backoff) and after a failure, when polled outside a tokio runtime
    /// with a timer.
    ///
    /// # Cancel safety
    /// When this is dropped, so is `init`; the reaper undoes what it did, then the next caller may
    /// start. If `init` had given its value and only its cleanups were left, the value is kept for
    /// the next caller.
    pub async fn get_or_init<E, F, Fut>(&self, init: F) -> Result<&T, OnceError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(Scope<T, E>) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let turn = self.turn();
        if turn.is_inside() {
            return Err(OnceError::Reentrant(self.name));
        }
        let permit = turn.take().await;
        // Whoever had the turn before may have succeeded, or failed for good.
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let kept = turn.state().kept.take();
        if let Some(value) = kept {
            return Ok(self.value.get_or_init(|| value));
        }
        if let Some(reason) = turn.state().poisoned.clone() {
            return Err(OnceError::Poisoned(self.name, reason));
        }
        self.init(turn.clone(), permit, init).await
    }

    async fn init<E, F, Fut>(
        &self,
        turn: Arc<Turn<T>>,
        permit: OwnedSemaphorePermit,
        init: F,
    ) -> Result<&T, OnceError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(Scope<T, E>) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let after = self.after_failure;
        // Given back by the last cleanup when the initializer failed or its caller has left, and here
        // when it went well.
        let permit = Arc::new(Mutex::new(Some(permit)));
        let (turn_back, permit_back) = (turn.clone(), permit.clone());
        let initialized = scope(self.name)
            .error::<E>()
            .run(|s| {
                // Registered first, so it runs last.
                let itself = s.clone();
                s.defer_outcome("give the turn back", move |outcome| {
                    if outcome.verdict() != Verdict::Ok {
                        turn_back.failed(after, || reason(outcome));
                    } else if itself.is_reaped() {
                        // Nothing was undone, so it must not be initialized again.
                        let left = Outcome::Cancelled(Cause::Dropped);
                        if let Outcome::Ok(value) = std::mem::replace(outcome, left) {
                            turn_back.keep(value);
                        }
                    } else {
                        return;
                    }
                    drop(take(&permit_back));
                });
                turn.state().running =
                    context::with(|frame| frame.node.as_ref().map(Arc::downgrade));
                init(s)
            })
            .await;
        let value = initialized.map_err(OnceError::Failed)?;
        // No await from here to the end: nobody can be dropped with the value but without it set.
        turn.state().running = None;
        let value = self.value.get_or_init(|| value);
        drop(take(&permit));
        Ok(value)
    }

    fn turn(&self) -> &Arc<Turn<T>> {
        self.turn.get_or_init(|| {
            Arc::new(Turn {
                permits: Arc::new(Semaphore::new(1)),
                state: Mutex::new(State {
                    running: None,
                    failures: 0,
                    not_before: None,
                    poisoned: None,
                    kept: None,
                }),
            })
        })
    }
}

fn take(permit: &Mutex<Option<OwnedSemaphorePermit>>) -> Option<OwnedSemaphorePermit> {
    permit.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Says without the error's own text why it failed: the error need not be printable.
fn reason<T, E>(outcome: &Outcome<T, E>) -> String {
    match outcome {
        Outcome::Ok(_) => "ok".to_owned(),
        Outcome::Err(_) => "its initializer failed".to_owned(),
        Outcome::Panicked(panic) => format!("its initializer {panic}"),
        Outcome::Cancelled(cause) => format!("its initializer was cancelled: {cause}"),
    }
}

impl<T> Turn<T> {
    /// Tells whether the code at hand runs inside of the initializer.
    fn is_inside(&self) -> bool {
        let running = self.state().running.as_ref().and_then(Weak::upgrade);
        let Some(running) = running else {
            return false;
        };
        context::with(|frame| {
            frame
                .node()
                .is_some_and(|node| node.is_within(running.node()))
        })
    }

    /// Waits for the turn, and for the end of the wait after a failure.
    async fn take(&self) -> OwnedSemaphorePermit {
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.expect("nobody closes the semaphore");
        let not_before = self.state().not_before;
        if let Some(not_before) = not_before {
            clock::sleep_until(not_before).await;
        }
        permit
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceInit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceInit")
            .field("name", &self.name)
            .field("value", &self.value)
            .field("after_failure", &self.after_failure)
            .finish_non_exhaustive()
    }
}

/// Why [`OnceInit::get_or_init`] gave no value.
#[derive(Debug)]
pub enum OnceError<E> {
    /// The initializer of this caller failed, panicked, or was cancelled.
    Failed(ScopeError<E>),
    /// The cell of this name was asked for its value by its own initializer.
    Reentrant(Name),
    /// The cell of this name failed before, for this reason, and may not be tried again.
    Poisoned(Name, Arc<str>),
}

impl<E> OnceError<E> {
    /// Tells whether another call may succeed: after a failure, but not after poisoning or from
    /// inside of the initializer.
    pub fn is_retryable(&self) -> bool {
        matches!(self, OnceError::Failed(_))
    }
}

impl<E: fmt::Display> fmt::Display for OnceError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OnceError::Failed(error) => fmt::Display::fmt(error, f),
            OnceError::Reentrant(name) => {
                write!(f, "the initializer of {name} asks for {name} itself")
            }
            OnceError::Poisoned(name, reason) => {
                write!(f, "{name} is poisoned: {reason}")
            }
        }
    }
}

impl<E: fmt::Display + fmt::Debug + 'static> Error for OnceError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            OnceError::Failed(error) => error.source(),
            OnceError::Reentrant(_) | OnceError::Poisoned(..) => None,
        }
    }
}
