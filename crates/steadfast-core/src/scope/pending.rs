use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, fence};

use tokio::sync::Notify;

use crate::context::AsNode;
use crate::decide::atomic::{AtomicUsize, Ordering};
use crate::reaper;

/// What must have ended before a scope's cleanups run: its children, and inner scopes that were
/// dropped and are being reaped. Without the latter an outer "close the connection" could run
/// before the inner "roll back".
pub(crate) struct Pending {
    children: Count,
    reaped: Count,
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
            children: Count::new(),
            reaped: Count::new(),
            ended: Notify::new(),
            stalled: AtomicBool::new(false),
        }
    }

    fn count(&self, what: What) -> &Count {
        match what {
            What::Child => &self.children,
            What::Reaped => &self.reaped,
        }
    }

    pub(crate) fn children(&self) -> usize {
        self.children.get()
    }

    /// Tells whether there is nothing to wait for but `left` children that do not stop.
    pub(crate) fn is_idle(&self, left: usize) -> bool {
        self.children() <= left && self.reaped.get() == 0
    }

    /// Waits until nothing of that sort is left.
    pub(crate) async fn none_left(&self, what: What) {
        loop {
            // Made before the look, so that an end between the two is not missed.
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.count(what).get() == 0 {
                return;
            }
            // At each poll: what began on a runtime may be polled on the fallback thread next.
            let mut stalled = None;
            poll_fn(|cx| {
                stalled = stalled.take().or_else(|| self.stall(what));
                ended.as_mut().poll(cx)
            })
            .await;
        }
    }

    /// Says that the fallback thread cannot go on here by itself: what it waits for may be the
    /// next thing that is dropped by the very thread that waits for it.
    ///
    /// Either this sees that the last one has ended, or that one's [`go_on`](Self::go_on) sees
    /// this; each writes, then looks at what the other writes. Otherwise the thread that drops the
    /// last one would go, or be let go, while there is work again that it has to wait for.
    fn stall(&self, what: What) -> Option<impl Drop + '_> {
        struct Stalled<'a>(&'a Pending);
        impl Drop for Stalled<'_> {
            fn drop(&mut self) {
                self.0.go_on();
            }
        }

        if !reaper::on_fallback() {
            return None;
        }
        let stalled = reaper::stalled(|| {
            self.stalled.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            let waits = self.count(what).get() > 0;
            self.stalled.store(waits, Ordering::SeqCst);
            waits
        });
        stalled.then(|| Stalled(self))
    }

    /// Takes [`stall`](Self::stall) back; tells whether that was left to do.
    fn go_on(&self) -> bool {
        fence(Ordering::SeqCst);
        if !self.stalled.load(Ordering::SeqCst) {
            return false;
        }
        reaper::goes_on(|| self.stalled.swap(false, Ordering::SeqCst))
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
        scope.node().pending.count(what).begin();
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
        if pending.count(self.what).end() {
            // Before the waiter is woken, who would take it back itself.
            let was_stalled = pending.go_on();
            pending.ended.notify_waiters();
            // Nobody waited for the fallback thread while it was stalled.
            if was_stalled && !self.finished {
                reaper::wait_before_exit();
            }
        }
    }
}

/// How many are under way.
struct Count(AtomicUsize);

impl Count {
    fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    fn begin(&self) {
        // Relaxed: whoever begins is itself counted or inside of what is, so no look can depend
        // on the order of this.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells whether this was the last one.
    fn end(&self) -> bool {
        // Release, against the Acquire of the look: whoever sees zero also sees what the child
        // has written. With Relaxed, a cleanup could read what its child had not finished.
        self.0.fetch_sub(1, Ordering::Release) == 1
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(all(test, steadfast_loom))]
mod loom_tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn whoever_sees_no_child_left_sees_what_the_children_wrote() {
        loom::model(|| {
            let shared = Arc::new((Count::new(), [UnsafeCell::new(0), UnsafeCell::new(0)]));
            for child in 0..2 {
                shared.0.begin();
                let shared = shared.clone();
                thread::spawn(move || {
                    write(&shared.1[child], 7);
                    shared.0.end();
                });
            }

            while shared.0.get() > 0 {
                thread::yield_now();
            }

            assert_eq!(shared.1.iter().map(read).sum::<i32>(), 14);
        });
    }

    #[allow(
        unsafe_code,
        reason = "loom checks that no two threads are here at a time"
    )]
    fn write(cell: &UnsafeCell<i32>, value: i32) {
        // SAFETY: checked by the model.
        cell.with_mut(|cell| unsafe { *cell = value });
    }

    #[allow(unsafe_code, reason = "loom checks that nobody writes meanwhile")]
    fn read(cell: &UnsafeCell<i32>) -> i32 {
        // SAFETY: checked by the model.
        cell.with(|cell| unsafe { *cell })
    }
}
