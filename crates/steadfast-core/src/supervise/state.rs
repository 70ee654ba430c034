//! The books of a group: the machine, and what it does not know about its children.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Weak;
use std::time::Duration;

use tokio::sync::oneshot;

use super::child::SharedChild;
use super::end::{ChildEnd, Ended, Facts, GroupEnd};
use super::error::{GroupError, GroupFailure};
use super::event::{ChildRef, Event, EventKind};
use super::group::Group;
use super::request::{Answer, Request};
use super::snapshot::ChildState;
use crate::cancel::{Cancel, Cause};
use crate::clock::Instant;
use crate::context::{Name, TraceId};
use crate::decide::restart::{
    self, ChildId, ChildView, End, Instance, Intensity, Outcome, Status, Strategy, Supervision,
    Verdict,
};
use crate::panic::drop_contained;
use crate::{recover, rng};

/// Everything that changes in a group. No code of others runs while it is locked: what has to be
/// dropped, answered or told is put aside for later.
pub(super) struct State {
    pub(super) terms: Terms,
    pub(super) machine: Supervision,
    pub(super) entries: BTreeMap<ChildId, Entry>,
    /// What was not told yet. Bounded by what the children do between two rounds of the driver:
    /// none starts without it, and each tells at most five events from its start to its end.
    pub(super) events: VecDeque<Event>,
    pub(super) later: Later,
    /// The start is complete.
    pub(super) ready: bool,
    /// Why it was asked to stop.
    pub(super) stop_cause: Option<Cause>,
    /// Why it stops, told to its children and in the end to everybody.
    pub(super) closing: Option<GroupEnd>,
    pub(super) end: Option<GroupEnd>,
    /// Why nobody drives it any more; whoever changes something then acts on it.
    pub(super) driverless: Option<Cause>,
    pub(super) acting: bool,
    /// The event that is being told.
    pub(super) told: Option<EventKind>,
    /// What waits for this group to end.
    pub(super) holds: Vec<Box<dyn Send>>,
}

/// What a group is told once.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) name: Name,
    pub(super) strategy: Strategy,
    pub(super) intensity: Intensity,
    /// Zero on the machine's clock. Not that of the process: tests with paused time each have
    /// their own.
    pub(super) origin: Instant,
    /// Aborts every instance.
    pub(super) token: Cancel,
}

/// What is put aside while the state is locked.
#[derive(Default)]
pub(super) struct Later {
    garbage: Vec<Box<dyn Send>>,
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
}

pub(super) struct Entry {
    pub(super) child: SharedChild,
    pub(super) present: Option<Present>,
    pub(super) state: ChildState,
    pub(super) since: Instant,
    pub(super) restarts: u64,
    pub(super) last_end: Option<ChildEnd>,
    /// Why it is stopped by hand.
    by_hand: Option<Cause>,
    pub(super) requests: Vec<Request>,
}

/// The present life of a child.
pub(super) struct Present {
    pub(super) run: u64,
    pub(super) trace_id: TraceId,
    pub(super) started: Instant,
    pub(super) stop: Cancel,
    pub(super) abort: Cancel,
    pub(super) ready: bool,
    pub(super) aborted: bool,
    pub(super) ending: bool,
    pub(super) inner: Weak<Group>,
}

// === impl Terms ===

impl Terms {
    pub(super) fn nanos(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.origin);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn instant(&self, nanos: u64) -> Instant {
        let at = self.origin.checked_add(Duration::from_nanos(nanos));
        at.unwrap_or(self.origin)
    }
}

// === impl Later ===

impl Later {
    pub(super) fn drop(&mut self, value: impl Send + 'static) {
        self.garbage.push(Box::new(value));
    }

    pub(super) fn answer(&mut self, sender: oneshot::Sender<Answer>, answer: Answer) {
        self.answers.push((sender, answer));
    }

    /// Does what was put aside; the state is not locked any more.
    pub(super) fn settle(self) {
        for (sender, answer) in self.answers {
            // Whoever asked may have left. A waker is code of others.
            let _ = recover(|| drop(sender.send(answer)));
        }
        for value in self.garbage {
            drop_contained(value);
        }
    }
}

// === impl State: reports ===

impl State {
    pub(super) fn new(terms: Terms, machine: Supervision) -> Self {
        Self {
            terms,
            machine,
            entries: BTreeMap::new(),
            events: VecDeque::new(),
            later: Later::default(),
            ready: false,
            stop_cause: None,
            closing: None,
            end: None,
            driverless: None,
            acting: false,
            told: None,
            holds: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, id: ChildId, child: SharedChild, now: Instant) {
        let entry = Entry {
            child,
            present: None,
            state: ChildState::AtRest,
            since: now,
            restarts: 0,
            last_end: None,
            by_hand: None,
            requests: Vec::new(),
        };
        self.entries.insert(id, entry);
    }

    pub(super) fn child_ready(&mut self, instance: Instance, now: u64) {
        let ending = self.present(instance).is_none_or(|present| present.ending);
        if ending || !self.machine.ready(instance, now) {
            return;
        }
        if let Some(present) = self.present(instance) {
            present.ready = true;
        }
        self.tell(instance.child, EventKind::Ready);
    }

    pub(super) fn child_ending(&mut self, instance: Instance) {
        if let Some(present) = self.present(instance) {
            present.ending = true;
        }
    }

    pub(super) fn child_ended(&mut self, instance: Instance, ended: Ended, at: Instant) {
        let Some(present) = self.present(instance) else {
            return self.later.drop(ended);
        };
        let asked = present.stop.is_cancelled();
        let (started, trace_id, aborted) = (present.started, present.trace_id, present.aborted);
        let kind = ended.kind(asked);
        let now = self.terms.nanos(at);
        let verdict = self.machine.ended(instance, kind, now, rng::bits());
        let expected = matches!(verdict, Verdict::Expected | Verdict::Unknown);
        let end = ChildEnd::new(Facts {
            // Aborted and not expected: the machine has aborted it for not getting ready.
            kind: if aborted && !expected {
                End::NotReady
            } else {
                kind
            },
            run: instance.run,
            at,
            lived: at.saturating_duration_since(started),
            trace_id,
            ended,
        });
        self.tell(
            instance.child,
            EventKind::Ended {
                end: end.clone(),
                expected,
            },
        );
        if let Some(entry) = self.entries.get_mut(&instance.child) {
            let older = entry.last_end.replace(end);
            let present = entry.present.take();
            self.later.drop((older, present));
        }
        self.tell_verdict(instance.child, verdict, now);
    }

    fn tell_verdict(&mut self, child: ChildId, verdict: Verdict, now: u64) {
        match verdict {
            Verdict::Restart { at } => {
                let restarts = self.machine.restarts_within(now);
                let intensity = self.terms.intensity.clone();
                if let Some(entry) = self.entries.get_mut(&child) {
                    entry.restarts += 1;
                }
                self.tell(
                    child,
                    EventKind::Restarting {
                        after: Duration::from_nanos(at.saturating_sub(now)),
                        restarts,
                        intensity,
                    },
                );
            }
            Verdict::GivenUp => self.tell(child, EventKind::GivenUp),
            Verdict::StartFailed => self.tell(child, EventKind::StartFailed),
            // The escalation is told when the group closes; there it has its reason.
            Verdict::Escalated | Verdict::Expected | Verdict::Unknown => {}
        }
    }

    /// Tells whether a child was written off and may still live.
    pub(super) fn is_stuck(&self) -> bool {
        let written_off = |entry: &Entry| entry.state == ChildState::WrittenOff;
        self.entries.values().any(written_off)
    }

    pub(super) fn present(&mut self, instance: Instance) -> Option<&mut Present> {
        let present = self.entries.get_mut(&instance.child)?.present.as_mut()?;
        (present.run == instance.run).then_some(present)
    }
}

// === impl State: what follows every change ===

impl State {
    pub(super) fn set_by_hand(&mut self, id: ChildId, cause: Option<Cause>) {
        if let (Some(entry), Some(cause)) = (self.entries.get_mut(&id), cause) {
            entry.by_hand = Some(cause);
        }
    }

    /// Brings the books in line with the machine.
    pub(super) fn sync(&mut self, now: Instant) {
        self.note_closing();
        let closing = self.closing.is_some();
        let mut views = self.machine.children().peekable();
        for (id, entry) in &mut self.entries {
            // Both are sorted by id, and every child of the machine has an entry.
            let view = views.next_if(|view| view.id == *id);
            entry.sync(view.as_ref(), &self.terms, now);
            let answers = entry.answers(view.as_ref(), closing);
            self.later.answers.extend(answers);
        }
    }

    fn note_closing(&mut self) {
        let (Status::Closing(outcome) | Status::Closed(outcome)) = self.machine.status() else {
            return;
        };
        if self.closing.is_some() {
            return;
        }
        let end = self.end_of(outcome);
        if let GroupEnd::Failed(error) = &end {
            let error = error.clone();
            self.tell_group(EventKind::Escalated(error));
        }
        self.closing = Some(end);
    }

    fn end_of(&self, outcome: Outcome) -> GroupEnd {
        let name = |id| self.entries.get(id).map(|entry| entry.child.name);
        let last_end = |id| self.entries.get(id)?.last_end.clone();
        let child = |id| name(id).unwrap_or(Name::OTHER);
        let why = match &outcome {
            Outcome::Stopped => {
                if let Some(cause) = &self.driverless {
                    GroupFailure::Aborted(cause.clone())
                } else {
                    let cause = self.stop_cause.clone();
                    return GroupEnd::Stopped(cause.unwrap_or(Cause::Dropped));
                }
            }
            Outcome::Significant(id) => return GroupEnd::Done { child: child(id) },
            Outcome::StartFailed { child: id, .. } => GroupFailure::StartFailed {
                child: child(id),
                end: last_end(id),
            },
            Outcome::TooManyRestarts { child: id, .. } => GroupFailure::TooManyRestarts {
                child: child(id),
                end: last_end(id),
                restarts: self.terms.intensity.restarts(),
                within: self.terms.intensity.within(),
            },
            Outcome::Stuck { child: id } => GroupFailure::Stuck { child: child(id) },
        };
        GroupEnd::Failed(GroupError {
            group: self.terms.name,
            why,
        })
    }

    pub(super) fn tell(&mut self, id: ChildId, kind: EventKind) {
        let child = self.entries.get(&id).map(|entry| ChildRef {
            id,
            name: entry.child.name,
            place: entry.child.place,
            run: entry.run(),
            trace_id: entry.trace_id(),
        });
        self.push(child, kind);
    }

    pub(super) fn tell_group(&mut self, kind: EventKind) {
        self.push(None, kind);
    }

    fn push(&mut self, child: Option<ChildRef>, kind: EventKind) {
        self.events.push_back(Event {
            group: self.terms.name,
            child,
            kind,
        });
    }
}

// === impl Entry ===

impl Entry {
    pub(super) fn by_hand(&self) -> Option<Cause> {
        self.by_hand.clone()
    }

    pub(super) fn begin(&mut self, present: Present) {
        self.by_hand = None;
        self.present = Some(present);
    }

    pub(super) fn run(&self) -> u64 {
        let last = self.last_end.as_ref().map_or(0, ChildEnd::run);
        self.present.as_ref().map_or(last, |present| present.run)
    }

    fn trace_id(&self) -> Option<TraceId> {
        match &self.present {
            Some(present) => Some(present.trace_id),
            None => self.last_end.as_ref().map(ChildEnd::trace_id),
        }
    }

    fn sync(&mut self, view: Option<&ChildView>, terms: &Terms, now: Instant) {
        let ending = self.present.as_ref().is_some_and(|present| present.ending);
        let state = match view.map(|view| view.state) {
            None | Some(restart::ChildState::AtRest) => ChildState::AtRest,
            Some(restart::ChildState::Waiting { not_before }) => ChildState::Waiting {
                not_before: terms.instant(not_before),
            },
            Some(restart::ChildState::Starting | restart::ChildState::Running) if ending => {
                ChildState::Ending
            }
            Some(restart::ChildState::Starting) => ChildState::Starting,
            Some(restart::ChildState::Running) => ChildState::Running,
            Some(restart::ChildState::Stopping) => ChildState::Stopping,
            Some(restart::ChildState::WrittenOff) => ChildState::WrittenOff,
        };
        if self.state.as_str() != state.as_str() {
            self.since = now;
        }
        self.state = state;
    }
}
