//! A group at work: every report goes into the machine at once, and one at a time acts on what it
//! decides.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::contained::for_each_contained;
use super::end::{Ended, GroupEnd};
use super::event::{Event, Observer};
use super::snapshot::{ChildSnapshot, GroupState, Snapshot};
use super::state::State;
use crate::cancel::{Cancel, Cause};
use crate::clock::{self, Instant};
use crate::decide::restart::{End, Instance};
use crate::panic::{Contained, drop_contained};
use crate::report::{Collector, MetricDoc, Source};
use crate::{recover, voice};

/// What the handles, the driver and the lives of a group share.
///
/// 1. A report changes the machine under the lock, on the thread that makes it, so that a
///    snapshot is true at every moment.
/// 2. What the machine decides is carried out without the lock, in order, by one at a time: by
///    the driver, and when that is gone by whoever made the report.
pub(super) struct Group {
    state: Mutex<State>,
    observers: Vec<Contained<Observer>>,
    /// Wakes the driver.
    pub(super) work: Notify,
    /// Wakes those who wait for the group.
    changed: Notify,
}

impl Group {
    pub(super) fn new(state: State, observers: Vec<Contained<Observer>>) -> Self {
        Self {
            state: Mutex::new(state),
            observers,
            work: Notify::new(),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and lets somebody act on it.
    pub(super) fn update<R>(self: &Arc<Self>, change: impl FnOnce(&mut State, Instant) -> R) -> R {
        let result = self.change(change);
        if self.state().driverless.is_some() {
            self.act();
        } else {
            self.work.notify_one();
        }
        result
    }

    /// Changes the state; the caller acts on it.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut State, Instant) -> R) -> R {
        let mut state = self.state();
        let now = clock::now();
        let result = change(&mut state, now);
        state.sync(now);
        let later = std::mem::take(&mut state.later);
        drop(state);
        later.settle();
        // A waker is code of others.
        let _ = recover(|| self.changed.notify_waiters());
        result
    }

    pub(super) fn tell(&self, event: &Event) {
        // A subscriber is code of others, too.
        voice::tell(|| event.log());
        for_each_contained(&self.observers, |observer| observer.get()(event));
    }

    pub(super) fn ready(self: &Arc<Self>, instance: Instance) {
        self.update(|state, now| {
            let now = state.terms.nanos(now);
            state.child_ready(instance, now);
        });
    }

    pub(super) fn ending(&self, instance: Instance) {
        self.change(|state, _| state.child_ending(instance));
    }

    pub(super) fn ended(self: &Arc<Self>, instance: Instance, ended: Ended) {
        self.update(|state, now| state.child_ended(instance, ended, now));
    }

    pub(super) fn stuck(self: &Arc<Self>, instance: Instance, end: End) {
        self.update(|state, now| {
            let now = state.terms.nanos(now);
            state.machine.stuck(instance, end, now);
        });
    }

    pub(super) fn stop(self: &Arc<Self>, cause: Cause) {
        let mut cause = Some(cause);
        self.update(|state, now| {
            if state.stop_cause.is_none() {
                state.stop_cause = cause.take();
            }
            let now = state.terms.nanos(now);
            state.machine.stop(now);
        });
        // One that comes too late is an error of others, perhaps, and not dropped under the lock.
        drop_contained(cause);
    }

    /// Starts the first children.
    pub(super) fn begin(&self) {
        self.change(|state, now| {
            let now = state.terms.nanos(now);
            // Rejected when the group was stopped before it began.
            let _ = state.machine.start(now);
        });
    }

    /// Keeps something until the group has ended.
    pub(super) fn hold(&self, what: impl Send + 'static) {
        self.change(|state, _| match state.end {
            None => state.holds.push(Box::new(what)),
            Some(_) => state.later.drop(what),
        });
    }

    /// Shows the group `inner` inside of this instance.
    pub(super) fn link(&self, instance: Instance, inner: &Arc<Group>) {
        self.change(|state, _| {
            if let Some(present) = state.present(instance) {
                present.inner = Arc::downgrade(inner);
            }
        });
    }

    /// Says that nobody drives the group any more, and aborts every instance that is left.
    pub(super) fn abandon(self: &Arc<Self>, cause: Cause) {
        let abort = self.update(|state, now| {
            let now = state.terms.nanos(now);
            state.driverless.get_or_insert(cause.clone());
            state.machine.stop(now);
            state.terms.token.clone()
        });
        cancel(&abort, cause);
    }

    /// Acts on the limits that are over; gives how long the driver may sleep then.
    pub(super) fn tick(&self) -> Option<Duration> {
        self.change(|state, now| {
            let now = state.terms.nanos(now);
            state.machine.tick(now);
            let at = state.machine.wake_at()?;
            Some(Duration::from_nanos(at.saturating_sub(now)))
        })
    }

    /// Waits until `look` finds something.
    pub(super) async fn until<R>(&self, mut look: impl FnMut(&State) -> Option<R>) -> R {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before the look, so that a change between the two is not missed.
            changed.as_mut().enable();
            if let Some(found) = look(&self.state()) {
                return found;
            }
            changed.await;
        }
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.state().is_stuck()
    }

    pub(super) fn end(&self) -> Option<GroupEnd> {
        self.state().end.clone()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let (mut snapshot, inner) = self.outline();
        for (child, inner) in snapshot.children.iter_mut().zip(inner) {
            // Not under the lock of the outer group.
            child.group = inner.upgrade().map(|group| group.snapshot());
        }
        snapshot
    }

    fn outline(&self) -> (Snapshot, Vec<Weak<Group>>) {
        let mut state = self.state();
        let at = clock::now();
        let now = state.terms.nanos(at);
        let restarts = state.machine.restarts_within(now);
        let mut inner = Vec::new();
        let children = state.machine.children().filter_map(|view| {
            let entry = state.entries.get(&view.id)?;
            inner.push(match &entry.present {
                Some(present) => present.inner.clone(),
                None => Weak::new(),
            });
            Some(ChildSnapshot {
                id: view.id,
                name: entry.child.name,
                place: entry.child.place,
                restart: view.restart,
                state: entry.state,
                since: entry.since,
                runs: view.runs,
                restarts: entry.restarts,
                failures: view.failures,
                last_end: entry.last_end.clone(),
                trace_id: entry.present.as_ref().map(|present| present.trace_id),
                group: None,
            })
        });
        let children = children.collect();
        let group = match (&state.end, &state.closing) {
            (Some(end), _) => GroupState::Ended(end.clone()),
            (None, Some(end)) => GroupState::Stopping(end.clone()),
            (None, None) if state.ready => GroupState::Running,
            (None, None) => GroupState::Starting,
        };
        let snapshot = Snapshot {
            name: state.terms.name,
            state: group,
            strategy: state.terms.strategy,
            intensity: state.terms.intensity.clone(),
            restarts,
            children,
            at,
        };
        (snapshot, inner)
    }
}

/// Cancels a token that others may wait for: their wakers are code of theirs.
pub(super) fn cancel(token: &Cancel, cause: Cause) {
    let _ = recover(|| token.cancel(cause));
}

impl Source for Group {
    fn describe(&self) -> &'static [MetricDoc] {
        super::METRICS
    }

    fn collect(&self, to: &mut Collector) {
        self.snapshot().collect(to);
    }
}
