use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use super::end::{End, Recorder};
use super::stack::{Key, Meta, Stack};
use super::{BoxError, CleanupResult, CleanupStatus, Outcome, ScopeBuilder, ScopeError};
use crate::cancel::Cause;
use crate::context::{Frame, Kind, Name, Node};
use crate::panic::{self, Policy};
use crate::recover;
use crate::small_fn::{Local, SmallFn};

type Cleanup<'env, T, E> = SmallFn<'env, Outcome<T, E>, Result<(), CleanupStatus>, Local>;

/// The handle of a scope that runs to its end on one thread; made by
/// [`ScopeBuilder::run_sync`].
///
/// Its cleanups may borrow what lives longer than the scope, and need not be `Send`.
pub struct SyncScope<'env, T, E> {
    stack: RefCell<Stack<Cleanup<'env, T, E>, IN_PLACE>>,
}

/// How many cleanups need no allocation of their own: 16, a kilobyte of the caller's stack.
const IN_PLACE: usize = 16;

impl<E> ScopeBuilder<E> {
    /// Runs a body on this thread; when it has returned or panicked, runs the cleanups that it
    /// registered, last in first out, each exactly once.
    ///
    /// The cleanups run after the catch, not while unwinding: a panic in one of them skips none
    /// of the others, and becomes the outcome, with older ones attached. A timeout of the builder
    /// only sets the deadline in the context: synchronous code cannot be interrupted.
    ///
    /// # Errors
    /// As the body and the cleanups left it: [`ScopeError`].
    ///
    /// # Examples
    /// ```
    /// # use steadfast_core as steadfast;
    /// use std::cell::RefCell;
    /// use steadfast::scope;
    ///
    /// let log = RefCell::new(Vec::new());
    /// let ended = scope("demo").run_sync(|s| {
    ///     s.defer("first", || log.borrow_mut().push("registered first, runs last"));
    ///     s.defer("second", || log.borrow_mut().push("registered last, runs first"));
    ///     if log.borrow().is_empty() {
    ///         panic!("the cleanups run all the same");
    ///     }
    ///     Ok(())
    /// });
    /// assert!(ended.unwrap_err().panic().is_some());
    /// assert_eq!(log.take()[0], "registered last, runs first");
    /// ```
    pub fn run_sync<'env, T, F>(self, body: F) -> Result<T, ScopeError<E>>
    where
        F: FnOnce(&SyncScope<'env, T, E>) -> Result<T, E>,
    {
        let deadline = self.effective_deadline();
        let node = Node::inside(Kind::SyncScope, self.name, Frame::current(), deadline);
        #[cfg(feature = "test-util")]
        node.trace
            .begin(&node, crate::testing::LeakKind::Scope, self.place);
        let node = Arc::new(node);
        let end = End::start(&node, self.on_report);
        let span = end.span().entered();

        let scope = SyncScope {
            stack: RefCell::new(Stack::new()),
        };
        let mut frame = Frame::body(node.clone());
        let entered = frame.enter();
        let mut outcome = match recover(|| body(&scope)) {
            Ok(Ok(value)) => Outcome::Ok(value),
            Ok(Err(error)) => Outcome::Err(error),
            Err(panic) if self.policy == Policy::Abort => panic::abort_with_report(&panic),
            Err(panic) => Outcome::Panicked(panic),
        };
        drop(entered);
        let mut recorder = end.recorder();
        let mut frame = frame.to_cleanup();
        let entered = frame.enter();
        scope.run_cleanups(&mut outcome, &mut recorder);
        drop(entered);
        node.over();
        end.finish(&node, &mut recorder, || {
            // Its type may borrow, so it cannot be seen whether it is a boxed one.
            (outcome.verdict(), outcome.reason(|_| None))
        });
        drop(span);
        outcome.into_result()
    }
}

impl<'env, T, E> SyncScope<'env, T, E> {
    /// Registers a cleanup that runs when the scope ends; gives a handle to run it early or to
    /// disarm it, which may be ignored.
    ///
    /// What `cleanup` captures is fixed now; what it reads through a shared cell is read then.
    #[inline]
    #[track_caller]
    pub fn defer<R: CleanupResult>(
        &self,
        name: impl Into<Name>,
        cleanup: impl FnOnce() -> R + 'env,
    ) -> SyncCleanupHandle<'_, 'env, T, E> {
        self.push(
            name.into(),
            Location::caller(),
            SmallFn::local(move |_: &mut Outcome<T, E>| status(cleanup().into_result())),
        )
    }

    /// Registers a cleanup that may look at the outcome and change it: turn a panic into a
    /// result, a result into an error. What the last one leaves is what the caller gets.
    #[inline]
    #[track_caller]
    pub fn defer_outcome<R: CleanupResult>(
        &self,
        name: impl Into<Name>,
        cleanup: impl FnOnce(&mut Outcome<T, E>) -> R + 'env,
    ) -> SyncOutcomeHandle<'_, 'env, T, E> {
        let cleanup = SmallFn::local(move |outcome: &mut Outcome<T, E>| {
            status(cleanup(outcome).into_result())
        });
        SyncOutcomeHandle(self.push(name.into(), Location::caller(), cleanup))
    }

    /// Takes a value into the scope's care: it stays usable through the guard, and `cleanup` gets
    /// it by value in every way out.
    #[track_caller]
    pub fn own<V: 'env, R: CleanupResult>(
        &self,
        name: impl Into<Name>,
        value: V,
        cleanup: impl FnOnce(V) -> R + 'env,
    ) -> SyncOwned<'_, 'env, V, T, E> {
        let slot = Rc::new(Cell::new(None));
        let back = slot.clone();
        let handle = self.push(
            name.into(),
            Location::caller(),
            SmallFn::local(move |_: &mut Outcome<T, E>| match back.take() {
                Some(value) => status(cleanup(value).into_result()),
                None => Err(CleanupStatus::Missing),
            }),
        );
        SyncOwned {
            value: Some(value),
            slot,
            handle,
        }
    }

    #[inline]
    fn push(
        &self,
        name: Name,
        place: &'static Location<'static>,
        cleanup: Cleanup<'env, T, E>,
    ) -> SyncCleanupHandle<'_, 'env, T, E> {
        let key = self.stack.borrow_mut().push(Meta { name, place }, cleanup);
        SyncCleanupHandle { scope: self, key }
    }

    fn run_cleanups(&self, outcome: &mut Outcome<T, E>, recorder: &mut Recorder) {
        loop {
            // A cleanup may register another one, which then runs next.
            let Some((meta, cleanup)) = self.stack.borrow_mut().pop() else {
                return;
            };
            let ran = recover(|| {
                #[cfg(feature = "test-util")]
                super::fault::in_sync_cleanup(meta)?;
                cleanup.call(outcome)
            });
            let status = match ran {
                Ok(Ok(())) => CleanupStatus::Ran,
                Ok(Err(status)) => status,
                Err(panic) => {
                    outcome.panicked(panic.clone());
                    CleanupStatus::Panicked(panic)
                }
            };
            recorder.record(meta, status);
        }
    }
}

fn status(result: Result<(), BoxError>) -> Result<(), CleanupStatus> {
    result.map_err(CleanupStatus::Failed)
}

impl<T, E> fmt::Debug for SyncScope<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncScope").finish_non_exhaustive()
    }
}

/// A registered cleanup of a [`SyncScope`]; dropping the handle changes nothing.
pub struct SyncCleanupHandle<'s, 'env, T, E> {
    scope: &'s SyncScope<'env, T, E>,
    key: Key,
}

impl<'env, T, E> SyncCleanupHandle<'_, 'env, T, E> {
    /// Removes the cleanup; tells whether it was still there.
    pub fn disarm(self) -> bool {
        self.take().is_some()
    }

    /// Runs the cleanup now instead of at the end of the scope; gives how it went, `None` when it
    /// had run. A panic in it is contained, reported, and does not touch the scope's outcome.
    pub fn run(self) -> Option<CleanupStatus> {
        let cleanup = self.take()?;
        // Cleanups that have such a handle do not look at the outcome.
        let mut unseen = Outcome::Cancelled(Cause::ScopeEnded);
        Some(match recover(|| cleanup.call(&mut unseen)) {
            Ok(Ok(())) => CleanupStatus::Ran,
            Ok(Err(status)) => status,
            Err(panic) => CleanupStatus::Panicked(panic),
        })
    }

    fn take(&self) -> Option<Cleanup<'env, T, E>> {
        // Released before the closure is: its drop may come back to the scope.
        let taken = self.scope.stack.borrow_mut().take(self.key);
        taken.map(|(_, cleanup)| cleanup)
    }
}

/// A registered cleanup that needs the outcome, so it cannot run early; dropping the handle
/// changes nothing.
pub struct SyncOutcomeHandle<'s, 'env, T, E>(SyncCleanupHandle<'s, 'env, T, E>);

impl<T, E> SyncOutcomeHandle<'_, '_, T, E> {
    /// Removes the cleanup; tells whether it was still there.
    pub fn disarm(self) -> bool {
        self.0.take().is_some()
    }
}

impl<T, E> fmt::Debug for SyncOutcomeHandle<'_, '_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncOutcomeHandle").finish_non_exhaustive()
    }
}

impl<T, E> fmt::Debug for SyncCleanupHandle<'_, '_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncCleanupHandle").finish_non_exhaustive()
    }
}

/// A value in the care of a [`SyncScope`].
pub struct SyncOwned<'s, 'env, V, T, E> {
    value: Option<V>,
    slot: Rc<Cell<Option<V>>>,
    handle: SyncCleanupHandle<'s, 'env, T, E>,
}

impl<V, T, E> SyncOwned<'_, '_, V, T, E> {
    /// Takes the value back; its cleanup will not run.
    pub fn disarm(mut self) -> V {
        let value = self.value.take();
        drop(self.handle.take());
        value.expect("the value is there until the guard is consumed")
    }
}

impl<V, T, E> Deref for SyncOwned<'_, '_, V, T, E> {
    type Target = V;

    fn deref(&self) -> &V {
        let value = self.value.as_ref();
        value.expect("the value is there until the guard is consumed")
    }
}

impl<V, T, E> DerefMut for SyncOwned<'_, '_, V, T, E> {
    fn deref_mut(&mut self) -> &mut V {
        let value = self.value.as_mut();
        value.expect("the value is there until the guard is consumed")
    }
}

impl<V, T, E> Drop for SyncOwned<'_, '_, V, T, E> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.slot.set(Some(value));
        }
    }
}

impl<V: fmt::Debug, T, E> fmt::Debug for SyncOwned<'_, '_, V, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SyncOwned").field(&self.value).finish()
    }
}
