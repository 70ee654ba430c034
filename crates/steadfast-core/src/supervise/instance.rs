//! One life of a child: a scope, and a report of its end that nothing can prevent.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use super::child::{ChildFuture, SharedChild};
use super::end::Ended;
use super::group::Group;
use crate::cancel::{Cancel, Cause, drop_cause};
use crate::context::Name;
use crate::decide::restart::{End, Instance};
use crate::scope::{BoxError, Scope, scope};
use crate::{recover_async, task};

/// What a child knows and can do while it lives; a cheap clone.
///
/// It keeps neither the child nor the group alive.
#[derive(Clone)]
pub struct ChildContext {
    name: Name,
    instance: Instance,
    stop: Cancel,
    scope: Scope<(), BoxError>,
    group: Weak<Group>,
}

/// What is needed to start one life of a child.
pub(super) struct Life {
    pub(super) group: Arc<Group>,
    pub(super) child: SharedChild,
    pub(super) instance: Instance,
    pub(super) stop: Cancel,
    pub(super) abort: Cancel,
}

/// Reports the end of an instance when the last holder lets go of it: the life itself, and the
/// end of its scope, which may come later, in the reaper.
struct Reporter {
    group: Arc<Group>,
    instance: Instance,
    ended: Mutex<Option<Ended>>,
}

// === impl ChildContext ===

impl ChildContext {
    /// Gives the name of the child.
    pub fn name(&self) -> Name {
        self.name
    }

    /// Gives which of the child's lives this is, counted from 1.
    pub fn run(&self) -> u64 {
        self.instance.run
    }

    /// Says that the child is ready, so that those after it may start. Only of a child with
    /// [`ready_within`](super::Child::ready_within) it is expected; otherwise, and when it is said
    /// again, it makes no difference.
    pub fn ready(&self) {
        if let Some(group) = self.group.upgrade() {
            group.ready(self.instance);
        }
    }

    /// Gives the token that is cancelled when the child is asked to stop.
    ///
    /// It is not the token of the [context](crate::context::cancel()): scopes inside of the child
    /// go on, so that what has begun may come to its end. Those are cancelled when the child is
    /// aborted.
    pub fn stop_token(&self) -> &Cancel {
        &self.stop
    }

    /// Waits until the child is asked to stop, and gives the cause.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub async fn stopping(&self) -> Cause {
        self.stop.cancelled().await
    }

    /// Tells whether the child was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Gives the scope of this life: for cleanups that run before the child counts as ended, and
    /// for tasks that end with it.
    pub fn scope(&self) -> &Scope<(), BoxError> {
        &self.scope
    }

    /// Shows a group as part of this child.
    /// Says that this life is over but for a child inside that cannot be ended.
    pub(super) fn stuck(&self, end: End) {
        if let Some(group) = self.group.upgrade() {
            group.stuck(self.instance, end);
        }
    }

    pub(super) fn link(&self, inner: &Arc<Group>) {
        if let Some(group) = self.group.upgrade() {
            group.link(self.instance, inner);
        }
    }
}

impl fmt::Debug for ChildContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildContext")
            .field("name", &self.name)
            .field("run", &self.instance.run)
            .field("stop", &self.stop)
            .finish_non_exhaustive()
    }
}

// === impl Life ===

impl Life {
    /// Starts it, in the context at hand.
    pub(super) fn start(self, context: crate::Context) {
        let reporter = Reporter {
            group: self.group.clone(),
            instance: self.instance,
            ended: Mutex::new(None),
        };
        let life = self.live(Arc::new(reporter));
        task::spawn_contained(context.wrap(recover_async(life)));
    }

    async fn live(self, reporter: Arc<Reporter>) {
        if let Some(cause) = self.abort.cause() {
            reporter.note(Ended::Cancelled(cause));
            return;
        }
        let child = self.child.clone();
        let until_scope_ends = reporter.clone();
        let outcome = scope(child.name)
            .cancel_on(&self.abort)
            .on_report(move |_| drop(until_scope_ends))
            .run(|scope| self.body(scope, reporter.clone()))
            .await;
        reporter.note(Ended::of(outcome, |error| child.is_normal(error)));
    }

    async fn body(
        self,
        scope: Scope<(), BoxError>,
        reporter: Arc<Reporter>,
    ) -> Result<(), BoxError> {
        let context = ChildContext {
            name: self.child.name,
            instance: self.instance,
            stop: self.stop,
            scope,
            group: Arc::downgrade(&self.group),
        };
        let Some(future) = self.child.make(context) else {
            // The group has ended, and only an instance that was written off comes this late.
            return Ok(());
        };
        if !self.child.says_ready {
            self.group.ready(self.instance);
            // That woke the driver, and a thread of a runtime keeps to itself what it woke last:
            // it must run before a child that blocks the thread.
            tokio::task::yield_now().await;
        }
        let watched = Watched { future, reporter };
        match recover_async(watched).await {
            Ok(output) => output,
            Err(panic) => panic.resume(),
        }
    }
}

impl Reporter {
    fn note(&self, ended: Ended) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let ended = self
            .ended
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let ended = ended.unwrap_or_else(|| {
            // Nothing was noted: it was dropped on its way, which only the end of the runtime
            // does. The driver goes the same way, perhaps a moment later; until then it must not
            // take this for a failure of the child.
            let cause = drop_cause();
            self.group.abandon(cause.clone());
            Ended::Cancelled(cause)
        });
        self.group.ended(self.instance, ended);
    }
}

/// Says that the child's future is over before it is dropped: a `Drop` may take long, and what is
/// dead must not be shown as running meanwhile.
struct Watched {
    future: ChildFuture,
    reporter: Arc<Reporter>,
}

impl Future for Watched {
    type Output = Result<(), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.reporter.group.ending(self.reporter.instance);
    }
}
