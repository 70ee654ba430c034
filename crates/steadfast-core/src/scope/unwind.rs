use std::any::Any;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tracing::Span;

use super::end::{End, Recorder};
#[cfg(feature = "test-util")]
use super::fault;
use super::handle::{Cleanup, CleanupFuture, Shared, Step};
use super::run::Stop;
use super::stack::Meta;
use super::timer::Timer;
use super::{BoxError, CleanupStatus, Verdict, What};
use crate::cancel::{self, Cause};
use crate::clock;
use crate::context;
use crate::panic::{self, Panic};
use crate::{reaper, recover, recover_async};

/// The end of a scope: joins or cancels the children, then runs the cleanups. Owned by whoever
/// runs the scope, and by the reaper once that was dropped.
pub(super) struct Unwind<T: Send + 'static, E: Send + 'static> {
    pub(super) shared: Arc<Shared<T, E>>,
    /// There until the end has been told.
    pub(super) end: Option<End>,
    pub(super) recorder: Recorder,
    pub(super) stop: Stop,
    /// A cleanup that has begun, and must be awaited.
    pub(super) current: Option<(Meta, CleanupFuture)>,
    /// That one while it is awaited.
    pub(super) awaited: Option<Meta>,
    /// Whether there are cleanups that have begun: children from then on are theirs.
    pub(super) begun: bool,
}

impl<T: Send + 'static, E: Send + 'static> Unwind<T, E> {
    pub(super) fn span(&self) -> Span {
        self.end.as_ref().map_or_else(Span::none, End::span)
    }

    /// Runs cleanups for as long as none needs to be awaited and nothing is pending; tells
    /// whether that was all.
    pub(super) fn run_ready(&mut self) -> bool {
        while self.current.is_none() {
            let pending = &self.shared.node.pending;
            if !pending.is_idle(self.recorder.children_left) {
                return false;
            }
            let Some((meta, cleanup)) = self.shared.next_cleanup() else {
                return true;
            };
            self.start(meta, cleanup);
        }
        false
    }

    /// Runs a cleanup up to its first await.
    fn start(&mut self, meta: Meta, cleanup: Cleanup<T, E>) {
        self.begun = true;
        #[cfg(feature = "test-util")]
        let cleanup = fault::in_cleanup(&self.shared.node, meta, cleanup);
        match recover(|| cleanup.call(&mut self.shared)) {
            Ok(Step::Done(status)) => self.ended(meta, status),
            Ok(Step::Await(future)) => self.current = Some((meta, future)),
            Err(panic) => self.ended(meta, panicked(panic)),
        }
    }

    fn ended(&mut self, meta: Meta, status: CleanupStatus) {
        if let CleanupStatus::Panicked(panic) = &status {
            let panic = panic.clone();
            self.shared.edit(|outcome| outcome.panicked(panic));
        }
        self.recorder.record(meta, status);
    }

    /// Runs all that is left.
    pub(super) async fn run(mut self) {
        while !self.run_ready() {
            match self.current.take() {
                Some((meta, future)) => {
                    self.awaited = Some(meta);
                    let status = limited(future, self.shared.limit).await;
                    self.awaited = None;
                    self.ended(meta, status);
                }
                None => self.children().await,
            }
            self.shared.node.pending.none_left(What::Reaped).await;
            self.recorder.restart();
        }
        self.finish();
    }

    pub(super) fn finish(&mut self) {
        let Some(end) = self.end.take() else {
            return;
        };
        let node = &self.shared.node;
        node.over();
        self.recorder.reaped = self.shared.is_reaped();
        end.finish(node, &mut self.recorder, || {
            let ended = self
                .shared
                .edit(|outcome| (outcome.verdict(), outcome.reason(boxed_text)));
            ended.unwrap_or((Verdict::Cancelled, None))
        });
    }

    /// Waits for the children: for those of a good body as long as the scope may take, for those
    /// of a cleanup as long as it may take, and for as long again once they were told to stop.
    async fn children(&mut self) {
        let node = &self.shared.node;
        if node.pending.children() <= self.recorder.children_left {
            return;
        }
        if self.begun {
            if self.shared.childless().await {
                return;
            }
            node.stop(Cause::ScopeEnded);
        } else if self.shared.edit(|outcome| outcome.is_ok()) == Some(true) {
            let deadline = self.stop.deadline;
            let late = async {
                match deadline {
                    Some(deadline) => Timer::new(deadline).over().await,
                    None => std::future::pending().await,
                }
            };
            let cause = tokio::select! {
                // Children that were told to stop end, too: that is not an end as it should be.
                biased;
                cause = self.stop.wait(node, late) => cause,
                () = node.pending.none_left(What::Child) => return,
            };
            node.stop(cause.clone());
            self.shared.edit(|outcome| outcome.cancelled(cause));
        }
        if !self.shared.childless().await {
            self.recorder.children_left = node.pending.children();
        }
    }

    /// Does what can be done at once, where there is nothing left that could wait.
    fn give_up(&mut self) {
        loop {
            let current = self.current.take();
            let unfinished = current.as_ref().map(|(meta, _)| *meta);
            panic::drop_contained(current);
            if let Some(meta) = self.awaited.take().or(unfinished) {
                let reason = "nothing was left to run it".into();
                self.ended(meta, CleanupStatus::RuntimeGone(reason));
            }
            let Some((meta, cleanup)) = self.shared.next_cleanup() else {
                break;
            };
            self.start(meta, cleanup);
        }
        self.finish();
    }
}

impl<T: Send + 'static, E: Send + 'static> Drop for Unwind<T, E> {
    fn drop(&mut self) {
        if self.end.is_some() {
            self.give_up();
        }
    }
}

/// Gives the text of an error, where it is a boxed one.
fn boxed_text<E: 'static>(error: &E) -> Option<String> {
    let error = (error as &dyn Any).downcast_ref::<BoxError>()?;
    Some(error.to_string())
}

pub(super) fn panicked(panic: Panic) -> CleanupStatus {
    if reaper::on_fallback() {
        CleanupStatus::RuntimeGone(Box::new(panic))
    } else {
        CleanupStatus::Panicked(panic)
    }
}

/// Awaits a cleanup for at most `limit`, which is its deadline; contains its panics.
pub(super) async fn limited(future: CleanupFuture, limit: Duration) -> CleanupStatus {
    let deadline = clock::after(limit);
    context::set_cleanup_deadline(Some(deadline));
    let mut future = recover_async(future);
    let mut timer = Timer::new(deadline);
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut future).poll(cx) {
            return Poll::Ready(Some(ended));
        }
        match timer.is_over(cx) {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    })
    .await;
    let status = match ended {
        Some(Ok(status)) => status,
        Some(Err(panic)) => panicked(panic),
        None => {
            // Contains the panics of its drop, and gives inner scopes the cause.
            cancel::dropping(Cause::Timeout(limit), || drop(future));
            timed_out(limit)
        }
    };
    context::set_cleanup_deadline(None);
    status
}

fn timed_out(limit: Duration) -> CleanupStatus {
    if reaper::on_fallback() {
        let reason = format!("did not end within {limit:?} without its runtime");
        CleanupStatus::RuntimeGone(reason.into())
    } else {
        CleanupStatus::TimedOut(limit)
    }
}
