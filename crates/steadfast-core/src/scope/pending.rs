use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::context::AsNode;

/// What must have ended before a scope's cleanups run: its children, and inner scopes that were
/// dropped and are being reaped. Without the latter an outer "close the connection" could run
/// before the inner "roll back".
pub(crate) struct Pending {
    children: AtomicUsize,
    reaped: AtomicUsize,
    ended: Notify,
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

    /// Tells whether there is nothing to wait for but `left` children that do not stop.
    pub(crate) fn is_idle(&self, left: usize) -> bool {
        self.children() <= left && self.reaped.load(Ordering::Acquire) == 0
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
            ended.await;
        }
    }
}

/// One child or reaped scope; ends with the drop.
pub(crate) struct PendingGuard {
    scope: Arc<dyn AsNode>,
    what: What,
}

impl PendingGuard {
    pub(crate) fn new(scope: Arc<dyn AsNode>, what: What) -> Self {
        scope
            .node()
            .pending
            .count(what)
            .fetch_add(1, Ordering::Relaxed);
        Self { scope, what }
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        let pending = &self.scope.node().pending;
        // Release, against the Acquire of the look: whoever sees zero also sees what the child
        // did; without it a cleanup could read state that the child had not finished writing.
        if pending.count(self.what).fetch_sub(1, Ordering::Release) == 1 {
            pending.ended.notify_waiters();
        }
    }
}
