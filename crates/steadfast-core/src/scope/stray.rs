use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::handle::{CleanupFuture, Step};
use super::stack::Meta;
use super::{CleanupStatus, PendingGuard, What, end, unwind};
use crate::context::{AsNode, Captured, Frame};
use crate::{reaper, recover};

/// A cleanup that runs outside of the order of its scope's stack: early, by its handle, or after
/// the end of the scope.
pub(super) struct Stray {
    pub(super) scope: Arc<dyn AsNode>,
    pub(super) meta: Meta,
    pub(super) limit: Duration,
}

type Running = Pin<Box<dyn Future<Output = CleanupStatus> + Send>>;

impl Stray {
    /// Runs a cleanup that comes after the end of its scope; the reaper awaits what must be
    /// awaited.
    pub(super) fn run_late(self, cleanup: impl FnOnce() -> Step) {
        match self.start(cleanup) {
            Step::Done(status) => self.tell(status),
            Step::Await(future) => self.reap(future, None),
        }
    }

    /// Runs a cleanup before the end of its scope. If this is dropped, the reaper goes on, and the
    /// scope waits for it.
    pub(super) async fn run_early(self, cleanup: impl FnOnce() -> Step) -> CleanupStatus {
        let future = match self.start(cleanup) {
            Step::Done(status) => return status,
            Step::Await(future) => future,
        };
        let pending = PendingGuard::new(self.scope.clone(), What::Reaped);
        let mut early = Early(Some((self.limited(future), self, pending)));
        let status = poll_fn(|cx| match &mut early.0 {
            Some((running, ..)) => running.as_mut().poll(cx),
            None => unreachable!("taken by the drop alone"),
        })
        .await;
        if let Some((.., pending)) = early.0.take() {
            pending.finish();
        }
        status
    }

    fn frame(&self) -> Captured {
        Captured::from(Frame::cleanup(self.scope.clone()))
    }

    fn start(&self, cleanup: impl FnOnce() -> Step) -> Step {
        let started = self.frame().run(|| recover(cleanup));
        started.unwrap_or_else(|panic| Step::Done(unwind::panicked(panic)))
    }

    fn limited(&self, future: CleanupFuture) -> Running {
        Box::pin(self.frame().wrap(unwind::limited(future, self.limit)))
    }

    fn reap(self, running: CleanupFuture, pending: Option<PendingGuard>) {
        let running = self.limited(running);
        self.go_on(running, pending);
    }

    fn go_on(self, running: Running, pending: Option<PendingGuard>) {
        reaper::submit(Box::pin(async move {
            let status = running.await;
            self.tell(status);
            if let Some(pending) = pending {
                pending.finish();
            }
        }));
    }

    /// Nobody waits for the status, and the scope's report has nothing of it.
    fn tell(&self, status: CleanupStatus) {
        end::tell_trouble(self.scope.node(), self.meta, status);
    }
}

/// An early cleanup on its way.
struct Early(Option<(Running, Stray, PendingGuard)>);

impl Drop for Early {
    fn drop(&mut self) {
        if let Some((running, stray, pending)) = self.0.take() {
            stray.go_on(running, Some(pending));
        }
    }
}
