use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use super::end::{End, Recorder};
use super::handle::{Cleanup, CleanupFuture, Shared, Step};
use super::run::Stop;
use super::stack::Meta;
use super::{CleanupStatus, PendingGuard, Verdict, What};
use crate::cancel::Cause;
use crate::clock::{self, Instant};
use crate::context::{self, AsNode};
use crate::panic::Panic;
use crate::{reaper, recover, recover_async};

/// The end of a scope: joins or cancels the children, then runs the cleanups. Owned by whoever
/// runs the scope, and by the reaper once that was dropped.
pub(super) struct Unwind<T, E> {
    pub(super) shared: Arc<Shared<T, E>>,
    pub(super) end: End,
    pub(super) recorder: Recorder,
    pub(super) stop: Stop,
    pub(super) limit: Duration,
    /// A cleanup that has begun, and must be awaited.
    pub(super) current: Option<(Meta, CleanupFuture)>,
}

impl<T: Send + 'static, E: Send + 'static> Unwind<T, E> {
    /// Runs cleanups for as long as none needs to be awaited and nothing is pending; tells
    /// whether that was all.
    pub(super) fn run_ready(&mut self) -> bool {
        while self.current.is_none() {
            if !self.shared.node.pending.is_idle() {
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
        self.children().await;
        loop {
            self.shared.node.pending.none_left(What::Reaped).await;
            if let Some((meta, future)) = self.current.take() {
                let deadline = clock::now() + self.limit;
                context::set_cleanup_deadline(deadline);
                let status = limited(future, self.limit).await;
                self.ended(meta, status);
            }
            if self.run_ready() {
                break;
            }
        }
        self.finish();
    }

    pub(super) fn finish(mut self) {
        let node = &self.shared.node;
        node.over();
        self.recorder.reaped = self.shared.is_reaped();
        let verdict = self.shared.edit(|outcome| outcome.verdict());
        let verdict = verdict.unwrap_or(Verdict::Cancelled);
        self.end.finish(node, verdict, self.recorder);
    }

    /// Waits for the children: as long as the scope may take when the body was well, and for as
    /// long as a cleanup may take once they were told to stop.
    async fn children(&mut self) {
        let node = &self.shared.node;
        if node.pending.children() == 0 {
            return;
        }
        let ok = self.shared.edit(|outcome| outcome.is_ok()).unwrap_or(false);
        if ok {
            let cause = tokio::select! {
                biased;
                () = node.pending.none_left(What::Child) => return,
                cause = self.stop.wait(node) => cause,
            };
            node.stop(cause.clone());
            self.shared.edit(|outcome| outcome.cancelled(cause));
        }
        let ended = node.pending.none_left(What::Child);
        if clock::timeout(self.limit, ended).await.is_err() {
            self.recorder.children_left = node.pending.children();
        }
    }
}

fn panicked(panic: Panic) -> CleanupStatus {
    if reaper::on_fallback() {
        CleanupStatus::RuntimeGone(Box::new(panic))
    } else {
        CleanupStatus::Panicked(panic)
    }
}

/// Awaits a cleanup for at most `limit`; contains its panics.
pub(super) async fn limited(future: CleanupFuture, limit: Duration) -> CleanupStatus {
    let mut future = recover_async(future);
    let mut timer = Timer::new(clock::now() + limit);
    let mut expired = false;
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut future).poll(cx) {
            return Poll::Ready(Some(ended));
        }
        expired = timer.is_over(cx);
        if expired {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    })
    .await;
    match ended {
        Some(Ok(status)) => status,
        Some(Err(panic)) => panicked(panic),
        None => {
            // Contains the panics of its drop, and gives inner scopes the cause.
            crate::cancel::dropping(Cause::Timeout(limit), || drop(future));
            timed_out(limit)
        }
    }
}

fn timed_out(limit: Duration) -> CleanupStatus {
    if reaper::on_fallback() {
        let reason = format!("did not end within {limit:?} without its runtime");
        CleanupStatus::RuntimeGone(reason.into())
    } else {
        CleanupStatus::TimedOut(limit)
    }
}

/// A timer that can move to another runtime: a sleep that belongs to one that has ended panics.
struct Timer {
    deadline: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
    on_fallback: bool,
}

impl Timer {
    fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            sleep: None,
            on_fallback: false,
        }
    }

    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let on_fallback = reaper::on_fallback();
        if self.sleep.is_none() || self.on_fallback != on_fallback {
            // Without a runtime that has timers there is no limit, as documented.
            self.sleep = recover(|| Box::pin(clock::timer_until(self.deadline))).ok();
            self.on_fallback = on_fallback;
        }
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(cx).is_ready(),
            None => false,
        }
    }
}

/// Awaits a cleanup that runs before the end of its scope; if that is dropped, the reaper goes on,
/// and the scope waits for it.
pub(super) async fn finish(
    future: CleanupFuture,
    limit: Duration,
    scope: Arc<dyn AsNode>,
) -> CleanupStatus {
    struct Finish(
        Option<Pin<Box<dyn Future<Output = CleanupStatus> + Send>>>,
        Option<PendingGuard>,
    );
    impl Drop for Finish {
        fn drop(&mut self) {
            if let Some(rest) = self.0.take() {
                let pending = self.1.take();
                reaper::submit(Box::pin(async move {
                    rest.await;
                    if let Some(pending) = pending {
                        pending.finish();
                    }
                }));
            }
        }
    }

    let pending = PendingGuard::new(scope, What::Reaped);
    let mut finish = Finish(Some(Box::pin(limited(future, limit))), Some(pending));
    let status = poll_fn(|cx| match &mut finish.0 {
        Some(future) => future.as_mut().poll(cx),
        None => unreachable!("taken by the drop alone"),
    })
    .await;
    finish.0 = None;
    if let Some(pending) = finish.1.take() {
        pending.finish();
    }
    status
}
