use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Trace;
use crate::clock;
use crate::context::{self, Name, ScopePath};

/// Sees which tasks and scopes are started in the context at hand, and which of them still live.
///
/// What counts is what steadfast starts: tasks of [`spawn`](crate::spawn()), of scopes and of
/// groups, scopes, and cleanups that the reaper runs; also from within those, however deep. It
/// goes with the context, so what other tests start beside this one is not seen.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use steadfast::testing::LeakCheck;
///
/// let leaks = LeakCheck::start();
/// let task = steadfast::spawn("poller", std::future::pending::<()>());
/// assert_eq!(leaks.alive()[0].name.as_str(), "poller");
///
/// task.abort();
/// leaks.assert_none().await;
/// # }
/// ```
#[must_use = "it sees what is started while it lives"]
pub struct LeakCheck {
    check: Arc<Check>,
}

/// A task or scope that still lives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leak {
    /// What it is.
    pub kind: LeakKind,
    /// The name it was started with.
    pub name: Name,
    /// The scopes and tasks around, with this one innermost.
    pub path: ScopePath,
    /// Where it was started.
    pub place: &'static Location<'static>,
    /// Whether the future of the scope was dropped, and its cleanups are still running.
    pub reaped: bool,
}

/// What a [`Leak`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeakKind {
    /// A task.
    Task,
    /// A scope.
    Scope,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (self.kind, self.reaped) {
            (LeakKind::Task, _) => "task",
            (LeakKind::Scope, false) => "scope",
            (LeakKind::Scope, true) => "cleanups of scope",
        };
        let (file, line) = (self.place.file(), self.place.line());
        write!(f, "{kind} `{}`, started at {file}:{line}", self.path)
    }
}

impl LeakCheck {
    /// How long [`assert_none`](Self::assert_none) waits: 1 s, of paused time where a test has
    /// paused it. Tasks that were told to stop need a few polls, and reaped cleanups their time.
    pub const PATIENCE: Duration = Duration::from_secs(1);

    /// Starts to look at what is started in the context at hand, until this is dropped.
    pub fn start() -> Self {
        let started = Self::apart();
        context::retrace(|trace| Trace::new(Some(started.check()), trace.plan.clone()));
        started
    }

    /// Makes one that is not yet in any context.
    pub(super) fn apart() -> Self {
        let outer = context::with(|frame| frame.node()?.trace.check.clone());
        let check = Arc::new(Check {
            outer,
            alive: Mutex::default(),
            ended: Notify::new(),
        });
        Self { check }
    }

    pub(super) fn check(&self) -> Arc<Check> {
        self.check.clone()
    }

    /// Gives what lives at this moment, in the order in which it was started.
    pub fn alive(&self) -> Vec<Leak> {
        self.check.alive().values().cloned().collect()
    }

    /// Waits until nothing lives any more, for at most `patience`; gives what still does.
    ///
    /// # Panics
    /// When it has to wait outside of a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub async fn none_left(&self, patience: Duration) -> Vec<Leak> {
        // If the time is over, what lives says so.
        let _ = clock::timeout(patience, self.check.none_left()).await;
        self.alive()
    }

    /// Waits for [`PATIENCE`](Self::PATIENCE) at most until nothing lives any more.
    ///
    /// # Panics
    /// With the list of what still lives. When it has to wait outside of a tokio runtime with a
    /// timer.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub async fn assert_none(self) {
        let left = self.none_left(Self::PATIENCE).await;
        let list: Vec<_> = left.iter().map(ToString::to_string).collect();
        assert!(left.is_empty(), "still alive:\n  {}", list.join("\n  "));
    }
}

impl Drop for LeakCheck {
    fn drop(&mut self) {
        let own = |check: &Arc<Check>| Arc::ptr_eq(check, &self.check);
        if context::with(|frame| frame.node()?.trace.check.as_ref().map(own)) == Some(true) {
            context::retrace(|trace| Trace::new(self.check.outer.clone(), trace.plan.clone()));
        }
    }
}

impl fmt::Debug for LeakCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeakCheck")
            .field("alive", &self.alive())
            .finish()
    }
}

/// What a [`LeakCheck`] sees. Also told to the one around it.
pub(crate) struct Check {
    outer: Option<Arc<Check>>,
    alive: Mutex<BTreeMap<u64, Leak>>,
    ended: Notify,
}

impl Check {
    fn alive(&self) -> MutexGuard<'_, BTreeMap<u64, Leak>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn and_outer(&self) -> impl Iterator<Item = &Check> {
        std::iter::successors(Some(self), |check| check.outer.as_deref())
    }

    pub(super) fn begin(&self, what: &Leak) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        for check in self.and_outer() {
            check.alive().insert(id, what.clone());
        }
        id
    }

    pub(super) fn reaped(&self, id: u64) {
        for check in self.and_outer() {
            if let Some(leak) = check.alive().get_mut(&id) {
                leak.reaped = true;
            }
        }
    }

    pub(super) fn end(&self, id: u64) {
        for check in self.and_outer() {
            check.alive().remove(&id);
            check.ended.notify_waiters();
        }
    }

    async fn none_left(&self) {
        loop {
            // Made before the look, so that an end between the two is not missed.
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.alive().is_empty() {
                return;
            }
            ended.await;
        }
    }
}
