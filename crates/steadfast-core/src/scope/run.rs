use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tracing::Instrument;

use super::end::End;
use super::handle::Shared;
use super::unwind::Unwind;
use super::{Outcome, PendingGuard, Scope, ScopeBuilder, ScopeError, What};
use crate::cancel::{self, Cancel, Cause};
use crate::clock::{self, Instant};
use crate::context::{Captured, Frame, Kind, Node};
use crate::panic::{self, Policy};
#[cfg(feature = "test-util")]
use crate::testing::{self, LeakKind};
use crate::{reaper, recover_async};

impl<E: Send + 'static> ScopeBuilder<E> {
    /// Runs a body; when it has ended in any way, joins or cancels its children, then runs the
    /// cleanups that it registered, last in first out, each exactly once.
    ///
    /// The body may borrow from the caller. What it registers with the scope outlives the body,
    /// and must be `Send` and own what it uses.
    ///
    /// # Errors
    /// As the body and the cleanups left it: [`ScopeError`].
    ///
    /// # Panics
    /// With a timeout or a deadline, when polled outside a tokio runtime with a timer. Cleanups
    /// have no limit there.
    ///
    /// # Cancel safety
    /// When this future is dropped, body and children are cancelled, and the
    /// [reaper](mod@crate::reaper) runs the cleanups, with [`Outcome::Cancelled`] unless the body
    /// had ended before. Dropped before its first poll, it has done nothing and tells nothing.
    pub async fn run<T, F, Fut>(self, body: F) -> Result<T, ScopeError<E>>
    where
        T: Send + 'static,
        F: FnOnce(Scope<T, E>) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut running = Running::start(self);
        let outcome = running.body(body).await;
        running.unwind(outcome).await.into_result()
    }
}

/// What ends a scope from outside of its body.
#[derive(Clone)]
pub(super) struct Stop {
    timeout: Option<Duration>,
    pub(super) deadline: Option<Instant>,
    cancel: Option<Cancel>,
}

impl Stop {
    /// Waits until the scope has to stop, and gives the cause; `late` ends at the deadline.
    pub(super) async fn wait(&self, node: &Node, late: impl Future<Output = ()>) -> Cause {
        let own = async {
            let token = poll_fn(|cx| match node.token_or_wake(cx.waker()) {
                Some(token) => Poll::Ready(token),
                None => Poll::Pending,
            });
            token.await.cancelled().await
        };
        let given = async {
            match &self.cancel {
                Some(cancel) => cancel.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // What was asked for by name goes before the clock when both come at once.
            biased;
            cause = own => cause,
            cause = given => cause,
            () = late => match self.timeout {
                Some(timeout) => Cause::Timeout(timeout),
                None => Cause::Deadline,
            },
        }
    }
}

/// A scope on its way; its drop hands what is left to the reaper.
struct Running<T: Send + 'static, E: Send + 'static> {
    shared: Arc<Shared<T, E>>,
    /// That of the body, with the facts that it has changed: the cleanups have them, too.
    frame: Frame,
    policy: Policy,
    /// What follows the body; there while the body runs.
    next: Option<Unwind<T, E>>,
    /// The cleanups on their way; there while one of them has to be awaited.
    unwinding: Option<Rest>,
}

/// What is left of a scope, without its types.
type Rest = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<T: Send + 'static, E: Send + 'static> Running<T, E> {
    fn start(scope: ScopeBuilder<E>) -> Self {
        let deadline = scope.effective_deadline();
        let node = Node::inside(Kind::Scope, scope.name, Frame::current(), deadline);
        #[cfg(feature = "test-util")]
        node.trace.begin(&node, LeakKind::Scope, scope.place);
        let shared = Arc::new(Shared::new(node, scope.cleanup_limit));
        let end = End::start(&shared.node, scope.on_report);
        let by_timeout = scope.timeout.filter(|_| deadline != scope.deadline);
        let unwind = Unwind {
            shared: shared.clone(),
            recorder: end.recorder(),
            end: Some(end),
            stop: Stop {
                timeout: by_timeout,
                deadline,
                cancel: scope.cancel,
            },
            current: None,
            awaited: None,
            begun: false,
        };
        Self {
            frame: Frame::body(shared.clone()),
            shared,
            policy: scope.policy,
            next: Some(unwind),
            unwinding: None,
        }
    }

    async fn body<F, Fut>(&mut self, body: F) -> Outcome<T, E>
    where
        F: FnOnce(Scope<T, E>) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let next = self.next.as_ref().expect("the body comes first");
        let stop = next.stop.clone();
        let span = next.span();
        let scope = Scope {
            shared: self.shared.clone(),
        };
        // The call itself may panic, too: a plain function may do work before its future.
        let body = async move { body(scope).await };
        #[cfg(feature = "test-util")]
        let body = testing::in_body(&self.shared.node, body);
        let body = recover_async(body).instrument(span);
        let body = self.frame.wrap(body);
        let mut body = pin!(Some(body));
        let late = async {
            match stop.deadline {
                Some(deadline) => clock::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let mut stopped = pin!(stop.wait(&self.shared.node, late));
        let ended = poll_fn(|cx| {
            let running = body.as_mut().as_pin_mut();
            if let Poll::Ready(ended) = running.expect("there until it ends").poll(cx) {
                return Poll::Ready(Ok(ended));
            }
            stopped.as_mut().poll(cx).map(Err)
        })
        .await;
        match ended {
            Ok(Ok(Ok(value))) => Outcome::Ok(value),
            Ok(Ok(Err(error))) => Outcome::Err(error),
            Ok(Err(panic)) if self.policy == Policy::Abort => panic::abort_with_report(&panic),
            Ok(Err(panic)) => Outcome::Panicked(panic),
            Err(cause) => {
                cancel::dropping(cause.clone(), || body.set(None));
                Outcome::Cancelled(cause)
            }
        }
    }

    async fn unwind(&mut self, outcome: Outcome<T, E>) -> Outcome<T, E> {
        if let Some(mut unwind) = self.begin(outcome) {
            let mut frame = self.frame.to_cleanup();
            let over = unwind.span().in_scope(|| {
                let _entered = frame.enter();
                unwind.run_ready()
            });
            if over {
                unwind.finish();
            } else {
                let span = unwind.span();
                let rest = Captured::from(frame).wrap(unwind.run().instrument(span));
                self.unwinding.insert(Box::pin(rest)).await;
                self.unwinding = None;
            }
        }
        self.shared.end()
    }

    /// Goes from the body to the cleanups.
    fn begin(&mut self, outcome: Outcome<T, E>) -> Option<Unwind<T, E>> {
        let mut unwind = self.next.take()?;
        unwind.recorder.restart();
        match &outcome {
            Outcome::Ok(_) => {}
            Outcome::Cancelled(cause) => {
                unwind.recorder.cause = Some(cause.clone());
                self.shared.node.stop(cause.clone());
            }
            Outcome::Err(_) | Outcome::Panicked(_) => self.shared.node.stop(Cause::ScopeEnded),
        }
        self.shared.begin_cleanups(outcome);
        Some(unwind)
    }
}

impl<T: Send + 'static, E: Send + 'static> Running<T, E> {
    /// Gives what is left when the future of the scope is dropped.
    fn rest(&mut self) -> Option<Rest> {
        if let Some(rest) = self.unwinding.take() {
            // For children that a good body was still waiting for.
            self.shared.node.stop(cancel::drop_cause());
            return Some(rest);
        }
        let mut unwind = self.begin(Outcome::Cancelled(cancel::drop_cause()))?;
        if self.shared.node.pending.is_idle(0) && self.shared.end_if_empty() {
            unwind.finish();
            return None;
        }
        let span = unwind.span();
        let frame = Captured::from(self.frame.to_cleanup());
        Some(Box::pin(frame.wrap(unwind.run().instrument(span))))
    }
}

impl<T: Send + 'static, E: Send + 'static> Drop for Running<T, E> {
    fn drop(&mut self) {
        let Some(rest) = self.rest() else {
            return;
        };
        self.shared.set_reaped();
        #[cfg(feature = "test-util")]
        self.shared.node.trace.reaped();
        // The enclosing scope's cleanups must not overtake these.
        let enclosing = self.shared.node.enclosing_scope();
        let pending = enclosing.map(|scope| PendingGuard::new(scope, What::Reaped));
        let shared = self.shared.clone();
        reaper::submit(Box::pin(async move {
            rest.await;
            // Nobody waits for the value any more, and a handle may live for long.
            panic::drop_contained(shared.end());
            if let Some(pending) = pending {
                pending.finish();
            }
        }));
    }
}
