use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::report::CleanupResult;
use super::stack::{Key, Meta, Stack};
use super::stray::Stray;
use super::timer::Timer;
use super::{BoxError, CleanupStatus, Outcome, Owned, Verdict, What};
use crate::cancel::{Cancel, Cause};
use crate::context::{AsNode, Name, Node};
use crate::small_fn::SmallFn;
use crate::task::{self, Task};
use crate::{clock, reaper, voice};

/// The handle of an async scope: registers cleanups, starts children, cancels. A cheap clone.
pub struct Scope<T, E> {
    pub(super) shared: Arc<Shared<T, E>>,
}

impl<T, E> Clone for Scope<T, E> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

/// A scope in one allocation: what others see of it, its stack, its outcome while cleanups run.
pub(super) struct Shared<T, E> {
    pub(super) node: Node,
    /// How long each async cleanup may take.
    pub(super) limit: Duration,
    state: Mutex<State<T, E>>,
}

/// How many cleanups need no allocation of their own: 8, so that the whole scope stays within
/// what allocators serve fast.
const IN_PLACE: usize = 8;

struct State<T, E> {
    stack: Stack<Cleanup<T, E>, IN_PLACE>,
    /// There while cleanups run, and not in the hands of one of them.
    outcome: Option<Outcome<T, E>>,
    ended: bool,
    reaped: bool,
}

pub(super) type Cleanup<T, E> = SmallFn<'static, Arc<Shared<T, E>>, Step>;

pub(super) type CleanupFuture = Pin<Box<dyn Future<Output = CleanupStatus> + Send>>;

/// What a cleanup does first.
pub(super) enum Step {
    Done(CleanupStatus),
    Await(CleanupFuture),
}

impl<T, E> AsNode for Shared<T, E>
where
    T: Send,
    E: Send,
{
    fn node(&self) -> &Node {
        &self.node
    }
}

impl<T, E> Shared<T, E> {
    pub(super) fn new(node: Node, limit: Duration) -> Self {
        Self {
            node,
            limit,
            state: Mutex::new(State {
                stack: Stack::new(),
                outcome: None,
                ended: false,
                reaped: false,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin_cleanups(&self, outcome: Outcome<T, E>) {
        self.state().outcome = Some(outcome);
    }

    /// Takes the newest cleanup; with the last one gone the scope has ended, in one step with the
    /// look, so that a registration comes either before it or after the end.
    #[inline]
    pub(super) fn next_cleanup(&self) -> Option<(Meta, Cleanup<T, E>)> {
        let mut state = self.state();
        let next = state.stack.pop();
        state.ended = next.is_none();
        next
    }

    /// Takes a cleanup out of order.
    pub(super) fn take(&self, key: Key) -> Option<(Meta, Cleanup<T, E>)> {
        self.state().stack.take(key)
    }

    /// Ends the scope if it has no cleanup, in one step with the look.
    pub(super) fn end_if_empty(&self) -> bool {
        let mut state = self.state();
        state.ended = state.stack.is_empty();
        state.ended
    }

    /// Waits for the children for at most the limit of a cleanup; tells whether all have ended.
    pub(super) async fn childless(&self) -> bool {
        tokio::select! {
            biased;
            () = self.node.pending.none_left(What::Child) => true,
            () = Timer::new(clock::after(self.limit)).over() => false,
        }
    }

    pub(super) fn set_reaped(&self) {
        self.state().reaped = true;
    }

    pub(super) fn is_reaped(&self) -> bool {
        self.state().reaped
    }

    pub(super) fn end(&self) -> Outcome<T, E> {
        let outcome = self.state().outcome.take();
        // Taken for good by an `Edit` that outlived its cleanup.
        outcome.unwrap_or(Outcome::Cancelled(Cause::ScopeEnded))
    }

    /// Gives the outcome to `change`; it is back in its place even if that panics.
    pub(super) fn edit<R>(&self, change: impl FnOnce(&mut Outcome<T, E>) -> R) -> Option<R> {
        struct PutBack<'a, T, E>(&'a Shared<T, E>, Option<Outcome<T, E>>);
        impl<T, E> Drop for PutBack<'_, T, E> {
            fn drop(&mut self) {
                self.0.state().outcome = self.1.take();
            }
        }

        let outcome = self.state().outcome.take()?;
        // Not under the lock: the change is the user's code, and may register cleanups.
        let mut editing = PutBack(self, Some(outcome));
        editing.1.as_mut().map(change)
    }
}

impl<T: Send + 'static, E: Send + 'static> Scope<T, E> {
    /// Registers a cleanup that runs when the scope ends; gives a handle to run it early or to
    /// disarm it, which may be ignored.
    ///
    /// What `cleanup` captures is fixed now; what it reads through a shared cell is read then. It
    /// runs on the executor's thread: one that blocks belongs into [`defer_async`] with
    /// `spawn_blocking`. After the scope has ended it runs at once, and that is reported.
    ///
    /// [`defer_async`]: Self::defer_async
    #[inline]
    #[track_caller]
    pub fn defer<R: CleanupResult>(
        &self,
        name: impl Into<Name>,
        cleanup: impl FnOnce() -> R + Send + 'static,
    ) -> CleanupHandle<'_, T, E> {
        let cleanup = SmallFn::new(move |_: &mut Arc<Shared<T, E>>| Step::of(cleanup()));
        CleanupHandle(self.register(name.into(), Location::caller(), cleanup))
    }

    /// Registers an async cleanup, see [`defer`](Self::defer). It runs under the scope's
    /// [`cleanup_limit`](super::ScopeBuilder::cleanup_limit), in a context without the scope's
    /// deadline and cancellation.
    #[track_caller]
    pub fn defer_async<R, F>(
        &self,
        name: impl Into<Name>,
        cleanup: impl FnOnce() -> F + Send + 'static,
    ) -> CleanupHandle<'_, T, E>
    where
        R: CleanupResult,
        F: Future<Output = R> + Send + 'static,
    {
        let cleanup = SmallFn::new(move |_: &mut Arc<Shared<T, E>>| {
            Step::Await(Box::pin(async move { status(cleanup().await) }))
        });
        CleanupHandle(self.register(name.into(), Location::caller(), cleanup))
    }

    /// Registers a cleanup that may look at the outcome and change it: turn a panic into a
    /// result, a result into an error. What the last one leaves is what the caller gets; when the
    /// future was dropped there is no caller, and it reaches only the report.
    #[track_caller]
    pub fn defer_outcome<R: CleanupResult>(
        &self,
        name: impl Into<Name>,
        cleanup: impl FnOnce(&mut Outcome<T, E>) -> R + Send + 'static,
    ) -> OutcomeHandle<'_, T, E> {
        let cleanup =
            SmallFn::new(
                move |shared: &mut Arc<Shared<T, E>>| match shared.edit(cleanup) {
                    Some(result) => Step::of(result),
                    None => Step::Done(CleanupStatus::Missing),
                },
            );
        OutcomeHandle(self.register(name.into(), Location::caller(), cleanup))
    }

    /// Registers an async cleanup that may look at the outcome and change it, such as a commit
    /// whose failure turns the value into an error.
    ///
    /// # Examples
    /// ```
    /// # use steadfast_core as steadfast;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use steadfast::{Outcome, Verdict, scope};
    /// # async fn commit() -> Result<(), &'static str> { Err("disk full") }
    ///
    /// let ended = scope("transfer")
    ///     .run(async |s| {
    ///         s.defer_outcome_async("commit or roll back", async |outcome| {
    ///             if outcome.verdict() == Verdict::Ok && let Err(error) = commit().await {
    ///                 outcome.change(|outcome| *outcome = Outcome::Err(error.into()));
    ///             }
    ///         });
    ///         Ok("moved")
    ///     })
    ///     .await;
    /// assert_eq!(ended.unwrap_err().to_string(), "disk full");
    /// # }
    /// ```
    #[track_caller]
    pub fn defer_outcome_async<R, F>(
        &self,
        name: impl Into<Name>,
        cleanup: impl FnOnce(Edit<T, E>) -> F + Send + 'static,
    ) -> OutcomeHandle<'_, T, E>
    where
        R: CleanupResult,
        F: Future<Output = R> + Send + 'static,
    {
        let cleanup = SmallFn::new(move |shared: &mut Arc<Shared<T, E>>| {
            let edit = Edit(shared.clone());
            Step::Await(Box::pin(async move { status(cleanup(edit).await) }))
        });
        OutcomeHandle(self.register(name.into(), Location::caller(), cleanup))
    }

    /// Registers an async cleanup that runs unless the scope ends with a value: undoes a step of
    /// something that did not come to its end.
    #[track_caller]
    pub fn undo<R, F>(
        &self,
        name: impl Into<Name>,
        cleanup: impl FnOnce() -> F + Send + 'static,
    ) -> OutcomeHandle<'_, T, E>
    where
        R: CleanupResult,
        F: Future<Output = R> + Send + 'static,
    {
        let cleanup = SmallFn::new(move |shared: &mut Arc<Shared<T, E>>| {
            if shared.edit(|outcome| outcome.is_ok()) == Some(true) {
                return Step::Done(CleanupStatus::NotNeeded);
            }
            Step::Await(Box::pin(async move { status(cleanup().await) }))
        });
        OutcomeHandle(self.register(name.into(), Location::caller(), cleanup))
    }

    /// Takes a value into the scope's care: it stays usable through the guard, and `cleanup` gets
    /// it by value in every way out.
    ///
    /// The value comes back to the scope when the guard is dropped, which the end of the body
    /// does. A guard that is still held elsewhere when the scope ends is reported as
    /// [`Missing`](super::CleanupStatus::Missing), and its cleanup runs once it is dropped.
    #[track_caller]
    pub fn own<V, R, F>(
        &self,
        name: impl Into<Name>,
        value: V,
        cleanup: impl FnOnce(V) -> F + Send + 'static,
    ) -> Owned<V>
    where
        V: Send + 'static,
        R: CleanupResult,
        F: Future<Output = R> + Send + 'static,
    {
        Owned::register(self, name.into(), Location::caller(), value, cleanup)
    }

    /// Starts a child: a task that is joined, or cancelled, before the cleanups run.
    ///
    /// Children of a body that returned `Ok` are waited for, up to the scope's time: when that is
    /// over, the outcome is [`Outcome::Cancelled`], and the value is gone. After an error, a panic
    /// or a cancellation they are cancelled, which drops them at their next await.
    ///
    /// A child's panic is contained and reported, and changes the scope's outcome only if the
    /// body joins the child and passes it on: `task.await?` as an error, which has the panic as its
    /// source; [`Panic::resume`](crate::Panic::resume) as the panic itself.
    /// A child that a cleanup starts is joined before the
    /// next cleanup, under the limit of a cleanup. Once children were cancelled, and after the end
    /// of the scope, a new one is cancelled before its first poll.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[track_caller]
    pub fn spawn<R, F>(&self, name: impl Into<Name>, child: F) -> Task<R>
    where
        R: Send + 'static,
        F: Future<Output = R> + Send + 'static,
    {
        let scope: Arc<dyn AsNode> = self.shared.clone();
        task::spawn_in(scope, name.into(), child)
    }

    /// Gives the token that is cancelled with this scope; children and the context have it too.
    pub fn token(&self) -> Cancel {
        self.shared.node.token()
    }

    /// Tells body and children to stop: they are dropped at their next await, and the outcome is
    /// [`Outcome::Cancelled`], unless the body comes to its end before another await. Returns
    /// whether `cause` was the first one.
    pub fn cancel(&self, cause: Cause) -> bool {
        self.token().cancel(cause)
    }

    /// Tells whether the future of the scope was dropped, so that nobody gets the outcome.
    pub(crate) fn is_reaped(&self) -> bool {
        self.shared.is_reaped()
    }

    #[inline]
    fn register(
        &self,
        name: Name,
        place: &'static Location<'static>,
        cleanup: Cleanup<T, E>,
    ) -> Registered<'_, T, E> {
        Registered {
            scope: &self.shared,
            key: self.push(Meta { name, place }, cleanup),
        }
    }

    /// Gives the place in the stack, or runs the cleanup at once after the end of the scope.
    #[inline]
    pub(super) fn push(&self, meta: Meta, cleanup: Cleanup<T, E>) -> Option<Key> {
        let mut state = self.shared.state();
        if !state.ended {
            return Some(state.stack.push(meta, cleanup));
        }
        drop(state);
        run_late(self.shared.clone(), meta, cleanup);
        None
    }
}

/// Runs a cleanup that came after the end of its scope.
fn run_late<T: Send + 'static, E: Send + 'static>(
    mut shared: Arc<Shared<T, E>>,
    meta: Meta,
    cleanup: Cleanup<T, E>,
) {
    let stray = Stray {
        scope: shared.clone(),
        meta,
        limit: shared.limit,
    };
    voice::tell(|| {
        tracing::warn!(
            target: "steadfast::scope",
            scope = shared.node.name.as_str(),
            cleanup = meta.name.as_str(),
            place = %format_args!("{}:{}", meta.place.file(), meta.place.line()),
            "cleanup was registered after the end of its scope and runs at once"
        );
    });
    stray.run_late(|| cleanup.call(&mut shared));
}

impl Step {
    fn of(result: impl CleanupResult) -> Self {
        Step::Done(status(result))
    }
}

pub(super) fn status(result: impl CleanupResult) -> CleanupStatus {
    match result.into_result() {
        Ok(()) => CleanupStatus::Ran,
        Err(error) => failed(error),
    }
}

fn failed(error: BoxError) -> CleanupStatus {
    if reaper::on_fallback() {
        CleanupStatus::RuntimeGone(error)
    } else {
        CleanupStatus::Failed(error)
    }
}

impl<T, E> fmt::Debug for Scope<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("name", &self.shared.node.name)
            .finish_non_exhaustive()
    }
}

/// Where a cleanup stands in its scope.
struct Registered<'s, T, E> {
    scope: &'s Arc<Shared<T, E>>,
    /// Absent when it ran at once.
    key: Option<Key>,
}

impl<T, E> Registered<'_, T, E> {
    fn take(&self) -> Option<(Meta, Cleanup<T, E>)> {
        self.scope.take(self.key?)
    }
}

/// A registered cleanup: runs it early or disarms it; dropping the handle changes nothing.
pub struct CleanupHandle<'s, T, E>(Registered<'s, T, E>);

impl<T: Send + 'static, E: Send + 'static> CleanupHandle<'_, T, E> {
    /// Removes the cleanup; tells whether it was still there.
    pub fn disarm(self) -> bool {
        self.0.take().is_some()
    }

    /// Runs the cleanup now instead of at the end of the scope.
    ///
    /// Gives how it went, `None` when it had run or was disarmed. A panic in it is contained,
    /// reported, and does not touch the scope's outcome.
    ///
    /// # Cancel safety
    /// When this is dropped before its end, the reaper goes on with the cleanup.
    pub async fn run(self) -> Option<CleanupStatus> {
        let (meta, cleanup) = self.0.take()?;
        let mut shared = self.0.scope.clone();
        let stray = Stray {
            scope: shared.clone(),
            meta,
            limit: shared.limit,
        };
        Some(stray.run_early(|| cleanup.call(&mut shared)).await)
    }
}

impl<T, E> fmt::Debug for CleanupHandle<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CleanupHandle").finish_non_exhaustive()
    }
}

/// A registered cleanup that needs the outcome, so it cannot run early; dropping the handle
/// changes nothing.
pub struct OutcomeHandle<'s, T, E>(Registered<'s, T, E>);

impl<T, E> OutcomeHandle<'_, T, E> {
    /// Removes the cleanup; tells whether it was still there.
    pub fn disarm(self) -> bool {
        self.0.take().is_some()
    }
}

impl<T, E> fmt::Debug for OutcomeHandle<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutcomeHandle").finish_non_exhaustive()
    }
}

/// The outcome of a scope in the hands of an async cleanup. It stays in the scope, so that a
/// cleanup that panics or exceeds its limit cannot lose it.
pub struct Edit<T, E>(Arc<Shared<T, E>>);

impl<T, E> Edit<T, E> {
    /// Gives how the scope has ended so far.
    pub fn verdict(&self) -> Verdict {
        self.0
            .edit(|outcome| outcome.verdict())
            .unwrap_or(Verdict::Cancelled)
    }

    /// Looks at the outcome and changes it; `None` when the scope has handed it out already.
    pub fn change<R>(&self, change: impl FnOnce(&mut Outcome<T, E>) -> R) -> Option<R> {
        self.0.edit(change)
    }
}

impl<T, E> fmt::Debug for Edit<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edit").finish_non_exhaustive()
    }
}
