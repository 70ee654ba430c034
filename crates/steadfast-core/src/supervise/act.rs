//! What is owed next: an event that was not told yet, a command that was not carried out.

use std::sync::{Arc, Weak};

use super::child::SharedChild;
use super::end::GroupEnd;
use super::event::{Event, EventKind};
use super::group::{Group, cancel};
use super::instance::Life;
use super::state::{Entry, Present, State};
use crate::cancel::{Cancel, Cause};
use crate::clock::Instant;
use crate::context::{Context, Name, TraceId};
use crate::decide::restart::{ChildId, Command, Instance, StopLimit};
use crate::recover;

/// The next thing that is owed; done without the lock.
pub(super) enum Step {
    Tell(Event),
    Start(Start),
    Cancel(Cancel, Cause),
    /// It is in the books, and that was all.
    Noted,
}

pub(super) struct Start {
    child: SharedChild,
    instance: Instance,
    trace_id: TraceId,
    stop: Cancel,
    abort: Cancel,
}

const SIBLING_RESTARTED: Cause = Cause::Requested(Name::new("restart with a sibling"));
const GROUP_FAILED: Cause = Cause::Requested(Name::new("failed group"));
const GROUP_DONE: Cause = Cause::Requested(Name::new("group that is done"));

impl Group {
    /// Tells all that is to be told, and carries out all that is to be done.
    pub(super) fn act(self: &Arc<Self>) {
        let mut next = self.change(|state, now| {
            // Whoever acts already looks again before it leaves.
            let free = !std::mem::replace(&mut state.acting, true);
            free.then(|| state.next_step(now)).flatten()
        });
        while let Some(step) = next {
            match step {
                Step::Tell(event) => self.tell(&event),
                Step::Start(start) => start.carry_out(self),
                Step::Cancel(token, cause) => cancel(&token, cause),
                Step::Noted => {}
            }
            next = self.change(State::next_step);
        }
    }
}

impl Start {
    fn carry_out(self, group: &Arc<Group>) {
        let life = Life {
            group: group.clone(),
            child: self.child,
            instance: self.instance,
            stop: self.stop,
            abort: self.abort,
        };
        // The root of a trace of its own; the place is that of the driver.
        let context = Context::new().with_trace_id(self.trace_id);
        // Without a runtime the spawn panics, and drops the life: that is its end, and reported.
        let _ = recover(|| life.start(context));
    }
}

impl State {
    pub(super) fn next_step(&mut self, now: Instant) -> Option<Step> {
        self.after_telling();
        if let Some(event) = self.events.pop_front() {
            self.told = Some(event.kind.clone());
            return Some(Step::Tell(event));
        }
        let Some(command) = self.machine.next_command() else {
            self.acting = false;
            return None;
        };
        Some(self.carry_out(command, now))
    }

    /// Lets those who wait for the group go on once everybody has heard of it.
    fn after_telling(&mut self) {
        match self.told.take() {
            Some(EventKind::GroupReady) => self.ready = true,
            Some(EventKind::GroupEnded(end)) => {
                self.end = Some(end);
                for entry in self.entries.values() {
                    self.later.drop(entry.child.release());
                }
                let holds = std::mem::take(&mut self.holds);
                holds.into_iter().for_each(|hold| self.later.drop(hold));
            }
            _ => {}
        }
    }

    fn carry_out(&mut self, command: Command, now: Instant) -> Step {
        match command {
            Command::Start(instance) => return self.start(instance, now),
            Command::Stop(instance) => return self.ask_to_stop(instance),
            Command::Abort(instance) => return self.abort(instance, now),
            Command::WriteOff(instance) => self.tell(instance.child, EventKind::WrittenOff),
            Command::Forget(child) => self.forget(child),
            Command::Ready => self.tell_group(EventKind::GroupReady),
            Command::Finish(_) => {
                let end = self.closing.clone();
                let end = end.expect("noted when the machine began to close");
                self.tell_group(EventKind::GroupEnded(end));
            }
        }
        Step::Noted
    }

    fn start(&mut self, instance: Instance, now: Instant) -> Step {
        let entry = self.entries.get_mut(&instance.child);
        let entry = entry.expect("each child of the machine has an entry");
        let start = Start {
            child: entry.child.clone(),
            instance,
            trace_id: TraceId::random(),
            stop: Cancel::new(),
            abort: self.terms.token.child(),
        };
        entry.begin(Present {
            run: instance.run,
            trace_id: start.trace_id,
            started: now,
            stop: start.stop.clone(),
            abort: start.abort.clone(),
            ready: false,
            aborted: false,
            ending: false,
            inner: Weak::new(),
        });
        self.tell(instance.child, EventKind::Started);
        Step::Start(start)
    }

    fn ask_to_stop(&mut self, instance: Instance) -> Step {
        let cause = self.stop_cause(instance.child);
        let Some(present) = self.present(instance) else {
            return Step::Noted;
        };
        let token = present.stop.clone();
        self.tell(
            instance.child,
            EventKind::Stopping {
                cause: cause.clone(),
            },
        );
        Step::Cancel(token, cause)
    }

    fn abort(&mut self, instance: Instance, now: Instant) -> Step {
        let cause = self.abort_cause(instance, now);
        let Some(present) = self.present(instance) else {
            return Step::Noted;
        };
        present.aborted = true;
        let token = present.abort.clone();
        self.tell(
            instance.child,
            EventKind::Aborted {
                cause: cause.clone(),
            },
        );
        Step::Cancel(token, cause)
    }

    fn forget(&mut self, child: ChildId) {
        self.tell(child, EventKind::Removed);
        let entry = self.entries.remove(&child);
        self.later.drop(entry);
    }

    fn stop_cause(&self, child: ChildId) -> Cause {
        match &self.closing {
            Some(GroupEnd::Stopped(cause)) => cause.clone(),
            Some(GroupEnd::Done { .. }) => GROUP_DONE,
            Some(GroupEnd::Failed(_)) => GROUP_FAILED,
            None => {
                let by_hand = self.entries.get(&child).and_then(Entry::by_hand);
                by_hand.unwrap_or(SIBLING_RESTARTED)
            }
        }
    }

    /// Says which limit was exceeded, or why the child gets no time at all.
    fn abort_cause(&mut self, instance: Instance, now: Instant) -> Cause {
        let cause = self.stop_cause(instance.child);
        let Some(entry) = self.entries.get(&instance.child) else {
            return cause;
        };
        let (child, Some(present)) = (&entry.child, &entry.present) else {
            return cause;
        };
        let lived = now.saturating_duration_since(present.started);
        match child.stop_limit {
            StopLimit::Within(limit) if present.stop.is_cancelled() => Cause::Timeout(limit),
            _ if !present.ready && lived >= child.ready_within => {
                Cause::Timeout(child.ready_within)
            }
            _ => cause,
        }
    }
}
