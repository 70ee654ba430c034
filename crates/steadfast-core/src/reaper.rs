//! Runs the cleanups of scopes whose future was dropped.
//!
//! A future that is dropped at an await cannot await its own cleanups. Spawning them from `Drop`
//! is the usual answer, and it silently fails where it matters: while a runtime shuts down it
//! accepts the task and drops it unpolled. The reaper keeps hold of the work instead:
//!
//! - Inside a runtime, the cleanups run as a task of it, and [`drain`] waits for all of them.
//! - If that task is dropped before it is done, because its runtime is shutting down, or there is
//!   no runtime at all, they run on a fallback thread with a runtime of its own. The thread that
//!   shuts the runtime down waits for them, for at most [`EXIT_WAIT`] in the life of the process,
//!   so that a `main` that returns next does not kill them.
//!
//! On the fallback thread a socket or timer that belongs to the dead runtime refuses to work:
//! such a cleanup is reported as [`RuntimeGone`](crate::CleanupStatus::RuntimeGone). A program
//! under [`steadfast::run`](crate::run()) drains the reaper before its runtime ends, so that only
//! scopes in tasks get there that nobody has told to stop: give those a scope around, or
//! [the token](crate::Shutdown::token) of the shutdown.
#![allow(
    clippy::disallowed_methods,
    reason = "starts what must outlive the scope it comes from, with its context already around it"
)]

use std::cell::Cell;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock;
use crate::recover;
use crate::report::EventDoc;

/// How long, in the whole life of the process, threads that shut a runtime down wait for the
/// fallback thread: 10 s, twice the default limit of a cleanup.
pub const EXIT_WAIT: Duration = Duration::from_secs(10);

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How much is under way. Its mutex is a leaf: no other lock is taken under it.
struct Outstanding {
    scopes: usize,
    /// How many there ever were, and how many of these fell back.
    reaped: u64,
    fell_back: u64,
    on_fallback: usize,
    /// How many of those wait for something outside of the fallback thread.
    stalled: usize,
    exit_waited: Duration,
}

static OUTSTANDING: Mutex<Outstanding> = Mutex::new(Outstanding {
    scopes: 0,
    reaped: 0,
    fell_back: 0,
    on_fallback: 0,
    stalled: 0,
    exit_waited: Duration::ZERO,
});
static CHANGED: Condvar = Condvar::new();
static DRAINED: tokio::sync::Notify = tokio::sync::Notify::const_new();

fn outstanding() -> MutexGuard<'static, Outstanding> {
    OUTSTANDING.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static ON_FALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Tells whether the code at hand runs on the fallback thread.
pub(crate) fn on_fallback() -> bool {
    ON_FALLBACK.get()
}

/// Gives the number of dropped scopes whose cleanups are still running.
pub fn in_flight() -> usize {
    outstanding().scopes
}

/// Gives how many scopes were taken over so far, and how many of these by the fallback thread.
pub(crate) fn totals() -> (u64, u64) {
    let outstanding = outstanding();
    (outstanding.reaped, outstanding.fell_back)
}

/// Waits until no cleanup of a dropped scope is running.
///
/// # Cancel safety
/// Nothing is lost by dropping it.
pub async fn drain() {
    loop {
        let mut changed = std::pin::pin!(DRAINED.notified());
        changed.as_mut().enable();
        if in_flight() == 0 {
            return;
        }
        changed.await;
    }
}

/// Takes over what a dropped scope has left to do.
pub(crate) fn submit(work: Work) {
    outstanding().reaped += 1;
    let work = Reaped {
        work: Some(work),
        _counted: Counted::start(),
    };
    match tokio::runtime::Handle::try_current() {
        // If the runtime is shutting down it drops the task, and `Reaped` goes on from there.
        Ok(runtime) => drop(runtime.spawn(work)),
        Err(_) => work.fall_back(),
    }
}

/// Makes [`drain`] wait for something that ends by itself, until the answer is dropped.
pub(crate) fn hold() -> impl Send {
    Counted::start()
}

/// Counts one scope as in flight.
struct Counted(());

impl Counted {
    fn start() -> Self {
        outstanding().scopes += 1;
        Self(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut outstanding = outstanding();
        outstanding.scopes -= 1;
        let drained = outstanding.scopes == 0;
        drop(outstanding);
        if drained {
            DRAINED.notify_waiters();
        }
    }
}

/// The remaining work of a scope: done when polled to the end, moved to the fallback thread when
/// dropped before.
struct Reaped {
    work: Option<Work>,
    _counted: Counted,
}

impl Future for Reaped {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(work) = self.work.as_mut() else {
            return Poll::Ready(());
        };
        // The work contains the panics of cleanups itself; this is for a panic of a waker.
        let polled = recover(|| work.as_mut().poll(cx));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) | Err(_) => {
                self.work = None;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else {
            return;
        };
        if on_fallback() {
            // The last resort itself is going down; the cleanups report as they are dropped.
            let _ = recover(|| drop(work));
            return;
        }
        let rest = Reaped {
            work: Some(work),
            _counted: Counted::start(),
        };
        rest.fall_back();
        wait_before_exit();
    }
}

impl Reaped {
    fn fall_back(self) {
        let mut outstanding = outstanding();
        outstanding.on_fallback += 1;
        outstanding.fell_back += 1;
        drop(outstanding);
        let counted = OnFallback(());
        let task = async move {
            self.await;
            drop(counted);
        };
        if let Err(mpsc::error::SendError(task)) = fallback().send(Box::pin(task)) {
            // There is no thread: nothing further to fall back to.
            ON_FALLBACK.set(true);
            drop(task);
            ON_FALLBACK.set(false);
        }
    }
}

struct OnFallback(());

impl Drop for OnFallback {
    fn drop(&mut self) {
        outstanding().on_fallback -= 1;
        CHANGED.notify_all();
    }
}

/// Gives the way to the fallback thread, and starts it the first time.
///
/// The channel has no bound of its own: what it carries are scopes that exist already.
fn fallback() -> &'static mpsc::UnboundedSender<Work> {
    static FALLBACK: std::sync::OnceLock<mpsc::UnboundedSender<Work>> = std::sync::OnceLock::new();
    FALLBACK.get_or_init(|| {
        let (sender, receiver) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("steadfast-reaper".into());
        if let Err(error) = thread.spawn(move || run_fallback(receiver)) {
            tracing::error!(target: "steadfast::reaper", %error, "no fallback thread for cleanups");
        }
        sender
    })
}

/// What it tells to the log.
pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new("steadfast::reaper", &["error"], "no fallback thread for cleanups", &["error"]).when("The system gives no further thread.").action("Cleanups of dropped scopes whose runtime is gone do not run: look at the limits of the process."),
    EventDoc::new("steadfast::reaper", &["error"], "no fallback runtime for cleanups", &["error"]).when("The system gives no files for a further runtime.").action("As above: look at the limit of open files."),
];

fn run_fallback(mut queue: mpsc::UnboundedReceiver<Work>) {
    ON_FALLBACK.set(true);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(target: "steadfast::reaper", %error, "no fallback runtime for cleanups");
            return;
        }
    };
    runtime.block_on(async {
        while let Some(work) = queue.recv().await {
            runtime.handle().spawn(work);
        }
    });
}

/// Counts a scope on the fallback thread that waits for its children, or for scopes inside, if
/// `waits` says so under the lock.
pub(crate) fn stalled(waits: impl FnOnce() -> bool) -> bool {
    let mut outstanding = outstanding();
    let stalled = waits();
    if stalled {
        outstanding.stalled += 1;
        CHANGED.notify_all();
    }
    stalled
}

/// Takes one [`stalled`] back, if `waited` says so under the lock.
pub(crate) fn goes_on(waited: impl FnOnce() -> bool) -> bool {
    let mut outstanding = outstanding();
    let waited = waited();
    if waited {
        outstanding.stalled -= 1;
    }
    waited
}

/// Keeps a thread that shuts a runtime down until the fallback thread is done, so that the
/// process does not end first.
///
/// It does not wait for what is stalled: that waits for tasks which only this thread can drop, once
/// it is let go. Dropping the last of them comes here again.
pub(crate) fn wait_before_exit() {
    if on_fallback() {
        return;
    }
    let start = clock::real();
    let mut outstanding = outstanding();
    let budget = EXIT_WAIT.saturating_sub(outstanding.exit_waited);
    while outstanding.on_fallback > outstanding.stalled {
        let waited = clock::real().saturating_duration_since(start);
        let left = budget.saturating_sub(waited);
        if left.is_zero() {
            break;
        }
        outstanding = CHANGED
            .wait_timeout(outstanding, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
    outstanding.exit_waited += clock::real().saturating_duration_since(start);
}
