use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::context::AsNode;
use crate::reaper;

/// What must have ended before a scope's cleanups run: its children, and inner scopes that were
/// dropped and are being reaped. Without the latter an outer "close the connection" could run
/// before the inner "roll back".
pub(crate) struct Pending {
    children: AtomicUsize,
    reaped: AtomicUsize,
    ended: Notify,
    /// The scope's end waits on the fallback thread, and is counted there as stalled.
    stalled: AtomicBool,
}

#[derive(Clone, Copy)]
pub(crate) enum What {
    Child,
    Reaped,
}

impl Pending {
    pub(crate) fn new() -> Self {
        Self {
            children: AtomicUsize::new(0),
            reaped: AtomicUsize::new(0),
            ended: Notify::new(),
            stalled: AtomicBool::new(false),
        }
    }

    fn count(&self, what: What) -> &AtomicUsize {
        match what {
            What::Child => &self.children,
            What::Reaped => &self.reaped,
        }
    }

    pub(crate) fn children(&self) -> usize {
        self.children.load(Ordering::Acquire)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.children() == 0 && self.reaped.load(Ordering::Acquire) == 0
    }

    /// Waits until nothing of that sort is left.
    pub(crate) async fn none_left(&self, what: What) {
        loop {
            // Made before the look, so that an end between the two is not missed.
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.count(what).load(Ordering::Acquire) == 0 {
                return;
            }
            // At each poll: what began on a runtime may be polled on the fallback thread next.
            let mut stalled = None;
            poll_fn(|cx| {
                stalled = stalled.take().or_else(|| self.stall());
                ended.as_mut().poll(cx)
            })
            .await;
        }
    }

    /// Says that the fallback thread cannot go on here by itself: what it waits for may be the
    /// next thing that is dropped by the very thread that waits for it.
    fn stall(&self) -> Option<impl Drop + '_> {
        struct Stalled<'a>(&'a Pending);
        impl Drop for Stalled<'_> {
            fn drop(&mut self) {
                self.0.go_on();
            }
        }

        if !reaper::on_fallback() {
            return None;
        }
        if !self.stalled.swap(true, Ordering::SeqCst) {
            reaper::stalled();
        }
        Some(Stalled(self))
    }

    /// Takes [`stall`](Self::stall) back; tells whether that was left to do.
    fn go_on(&self) -> bool {
        let stalled = self.stalled.swap(false, Ordering::SeqCst);
        if stalled {
            reaper::goes_on();
        }
        stalled
    }
}

/// One child or reaped scope; ends with the drop.
pub(crate) struct PendingGuard {
    scope: Arc<dyn AsNode>,
    what: What,
    finished: bool,
}

impl PendingGuard {
    pub(crate) fn new(scope: Arc<dyn AsNode>, what: What) -> Self {
        scope
            .node()
            .pending
            .count(what)
            .fetch_add(1, Ordering::Relaxed);
        Self {
            scope,
            what,
            finished: false,
        }
    }

    /// Ends it where the work has come to its own end: whoever ends it does not shut a runtime
    /// down.
    pub(crate) fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        let pending = &self.scope.node().pending;
        // Release, against the Acquire of the look: whoever sees zero also sees what the child
        // did; without it a cleanup could read state that the child had not finished writing.
        if pending.count(self.what).fetch_sub(1, Ordering::Release) == 1 {
            pending.ended.notify_waiters();
            // Nobody waited for the fallback thread while it was stalled.
            if pending.go_on() && !self.finished {
                reaper::wait_before_exit();
            }
        }
    }
}
