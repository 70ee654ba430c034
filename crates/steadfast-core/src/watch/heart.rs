use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::event::{Event, RuntimeResumed, RuntimeStalled};
use super::polls;
use crate::context::Name;
use crate::decide::lateness::Overdue;
use crate::task;

/// How many runtimes can be watched: 64.
pub const RUNTIMES_MAX: usize = 64;

/// How many busy threads one event names: 8, the longest ones.
const BUSY_MAX: usize = 8;

/// Says that [`RUNTIMES_MAX`] runtimes are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{RUNTIMES_MAX} runtimes are watched already")]
pub struct RuntimesFull(());

/// Asks a runtime for beats. A timer of the runtime would not do: what is measured is how long a
/// task that is ready waits for its poll, so the watchdog makes it ready and looks when it ran.
struct Heart {
    runtime: Name,
    pulse: Arc<Pulse>,
    /// The beat that was asked for last, and when.
    asked: u64,
    asked_at: u64,
    stalled: Option<Overdue>,
}

struct Pulse {
    ask: Notify,
    /// How many beats the runtime gave.
    given: AtomicU64,
    stopped: AtomicBool,
}

static HEARTS: Mutex<Vec<Heart>> = Mutex::new(Vec::new());

fn hearts() -> MutexGuard<'static, Vec<Heart>> {
    HEARTS.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn watch(runtime: Name, handle: &Handle) -> Result<(), RuntimesFull> {
    let pulse = Arc::new(Pulse {
        ask: Notify::new(),
        given: AtomicU64::new(0),
        stopped: AtomicBool::new(false),
    });
    let mut hearts = hearts();
    hearts.retain(Heart::is_alive);
    if hearts.len() >= RUNTIMES_MAX {
        return Err(RuntimesFull(()));
    }
    hearts.push(Heart {
        runtime,
        pulse: pulse.clone(),
        asked: 0,
        asked_at: 0,
        stalled: None,
    });
    drop(hearts);
    let _inside = handle.enter();
    task::spawn_service(async move {
        loop {
            pulse.ask.notified().await;
            if pulse.stopped.load(Ordering::Acquire) {
                return;
            }
            pulse.given.fetch_add(1, Ordering::Release);
        }
    });
    Ok(())
}

/// Ends the tasks of all runtimes that are watched.
pub(super) fn stop() {
    for heart in std::mem::take(&mut *hearts()) {
        heart.pulse.stopped.store(true, Ordering::Release);
        heart.pulse.ask.notify_one();
    }
}

pub(super) fn count() -> usize {
    hearts().iter().filter(|heart| heart.is_alive()).count()
}

/// Looks whether the runtimes gave the beats they were asked for, and asks for the next.
pub(super) fn look(now: u64, limit: Duration) -> Vec<Event> {
    let mut hearts = hearts();
    hearts.retain(Heart::is_alive);
    let mut events = Vec::new();
    for heart in &mut *hearts {
        events.extend(heart.look(now, limit));
    }
    events
}

impl Heart {
    /// A runtime that ends drops the task that beats.
    fn is_alive(&self) -> bool {
        Arc::strong_count(&self.pulse) > 1
    }

    fn look(&mut self, now: u64, limit: Duration) -> Option<Event> {
        let late_ns = now.saturating_sub(self.asked_at);
        let late = Duration::from_nanos(late_ns);
        if self.pulse.given.load(Ordering::Acquire) >= self.asked {
            let told = self
                .stalled
                .take()
                .is_some_and(|stalled| stalled.was_told());
            self.asked += 1;
            self.asked_at = now;
            self.pulse.ask.notify_one();
            let runtime = self.runtime;
            return told.then_some(Event::RuntimeResumed(RuntimeResumed { runtime, late }));
        }
        let stalled = self.stalled.get_or_insert_with(|| Overdue::new(limit));
        if !stalled.is_due(late_ns) {
            return None;
        }
        Some(Event::RuntimeStalled(RuntimeStalled {
            runtime: self.runtime,
            late,
            busy: polls::busy(now, late_ns / 2, BUSY_MAX),
        }))
    }
}
