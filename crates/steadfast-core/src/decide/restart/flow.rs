//! The machine's inside: judge an end, close the group, and take every step that is due.

use super::child::{Cause, Child, End, Next, Phase, Was};
use super::rules::{AutoShutdown, Restart, Strategy};
use super::supervision::{Command, Outcome, Status, Supervision, Verdict};
use std::ops::Range;
use std::time::Duration;

/// Says who may be started now, if its backoff is over.
#[derive(Clone, Copy)]
enum Turn {
    Nobody,
    Only(Option<usize>),
    /// Restarts do not wait for siblings, but the initial start goes in order, and children
    /// that were added meanwhile come after it.
    Independent {
        first_starting: Option<usize>,
    },
}

// === judging ===

impl Supervision {
    /// Decides what the end of this child leads to; whatever has to be done about it is left to
    /// [`advance`](Self::advance).
    pub(super) fn judge(&mut self, index: usize, end: End, random: u64) -> Verdict {
        let child = &mut self.children[index];
        match child.lay_down() {
            Was::Expected => Verdict::Expected,
            Was::NotReady { overdue } => {
                let end = if overdue { End::NotReady } else { end };
                self.judge_start(index, end, random)
            }
            Was::Ready { since } => {
                if child.spec.restart.restarts_after(end) {
                    let worked = Duration::from_nanos(self.now - since);
                    self.restart(index, end, worked, random)
                } else {
                    self.give_up(index)
                }
            }
        }
    }

    /// Judges a child that ended before it was ready.
    fn judge_start(&mut self, index: usize, end: End, random: u64) -> Verdict {
        let child = &mut self.children[index];
        if end.is_normal() && child.spec.restart != Restart::Permanent {
            return self.give_up(index);
        }
        match child.cause {
            Cause::Restart => self.restart(index, end, Duration::ZERO, random),
            Cause::Initial | Cause::Added | Cause::Asked => {
                self.fail_start(index, end);
                Verdict::StartFailed
            }
        }
    }

    /// Lets whoever wanted this child started pay for it, once it is sure that it does not get
    /// ready.
    fn fail_start(&mut self, index: usize, end: End) {
        let child = &mut self.children[index];
        let id = child.id;
        match child.cause {
            Cause::Initial => self.close(Outcome::StartFailed { child: id, end }),
            Cause::Added => child.next = Next::Remove,
            Cause::Asked => child.next = Next::Rest,
            Cause::Restart => child.next = Next::Start,
        }
    }

    fn give_up(&mut self, index: usize) -> Verdict {
        let child = &mut self.children[index];
        child.next = match child.spec.restart {
            Restart::Temporary => Next::Remove,
            Restart::Permanent | Restart::Transient => Next::Rest,
        };
        let (id, significant) = (child.id, child.spec.significant);
        let stops = match self.rules.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => significant,
            AutoShutdown::AllSignificant => significant && !self.any_significant_left(),
        };
        if stops {
            self.close(Outcome::Significant(id));
        }
        Verdict::GivenUp
    }

    fn any_significant_left(&self) -> bool {
        self.children
            .iter()
            .any(|child| child.spec.significant && (child.is_live() || child.is_queued()))
    }

    fn restart(&mut self, index: usize, end: End, worked: Duration, random: u64) -> Verdict {
        let id = self.children[index].id;
        if !self.restarts.record(self.now) {
            self.close(Outcome::TooManyRestarts { child: id, end });
            return Verdict::Escalated;
        }
        let failed = &mut self.children[index];
        failed.backoff.worked_for(worked);
        let wait = failed.backoff.next(random).as_nanos() as u64;
        let at = self.now.saturating_add(wait);
        failed.queue(Cause::Restart, at);
        for sibling in self.affected(index) {
            if sibling != index {
                self.children[sibling].follow_restart(at);
            }
        }
        if self.escalate_stuck() {
            return Verdict::Escalated;
        }
        Verdict::Restart { at }
    }

    /// Returns who is restarted with the child at `index`, itself included.
    fn affected(&self, index: usize) -> Range<usize> {
        match self.rules.strategy {
            Strategy::OneForOne => index..index + 1,
            Strategy::OneForAll => 0..self.children.len(),
            Strategy::RestForOne => index..self.children.len(),
        }
    }
}

impl Child {
    /// Joins the restart of a sibling: stopped if it lives, then started, not before `at`.
    fn follow_restart(&mut self, at: u64) {
        self.not_before = self.not_before.max(at);
        let at_rest = !self.is_live() && !self.is_queued();
        // The start that somebody asked for becomes part of the restart: if it fails, the
        // group must not go on without this child.
        if at_rest || self.cause == Cause::Asked {
            self.cause = Cause::Restart;
        }
        if self.is_queued() {
            return;
        }
        let next = match self.spec.restart {
            Restart::Permanent | Restart::Transient => Next::Start,
            Restart::Temporary => Next::Remove,
        };
        self.doom(next);
    }
}

// === ending ===

impl Supervision {
    /// Begins to end the group; the first reason stands.
    pub(super) fn close(&mut self, outcome: Outcome) {
        match self.status {
            Status::Idle | Status::Starting | Status::Running => {}
            Status::Closing(_) | Status::Closed(_) => return,
        }
        self.status = Status::Closing(outcome);
        for child in &mut self.children {
            child.doom(Next::Rest);
        }
    }

    /// Acts on the limits that are over.
    pub(super) fn expire(&mut self) {
        for index in 0..self.children.len() {
            let child = &mut self.children[index];
            if child.deadline().is_none_or(|deadline| deadline > self.now) {
                continue;
            }
            match child.phase {
                Phase::Starting { .. } => {
                    child.overdue = true;
                    self.abort_one(index);
                }
                Phase::Stopping { .. } => self.abort_one(index),
                Phase::Aborting { .. } => self.write_off(index),
                Phase::Down | Phase::Running { .. } | Phase::WrittenOff => {}
            }
        }
    }

    fn abort_one(&mut self, index: usize) {
        let child = &mut self.children[index];
        child.abort(self.now, self.rules.abort_limit);
        self.commands.push_back(Command::Abort(child.instance()));
    }

    fn write_off(&mut self, index: usize) {
        let child = &mut self.children[index];
        child.phase = Phase::WrittenOff;
        self.commands.push_back(Command::WriteOff(child.instance()));
        if std::mem::take(&mut child.overdue) {
            self.fail_start(index, End::NotReady);
        }
    }

    /// Writes off a child that has ended but for something inside of it.
    pub(super) fn write_off_ended(&mut self, index: usize, end: End) {
        let child = &mut self.children[index];
        if child.phase == Phase::WrittenOff {
            return;
        }
        let was = child.lay_down();
        child.phase = Phase::WrittenOff;
        self.commands.push_back(Command::WriteOff(child.instance()));
        let restart = child.spec.restart;
        match was {
            Was::Expected => {}
            Was::NotReady { .. } if end.is_normal() && restart != Restart::Permanent => {
                self.give_up(index);
            }
            Was::NotReady { .. } => self.fail_start(index, end),
            Was::Ready { .. } if restart.restarts_after(end) => {
                self.children[index].next = Next::Start;
            }
            Was::Ready { .. } => {
                self.give_up(index);
            }
        }
    }

    pub(super) fn stop_one(&mut self, index: usize) {
        let child = &mut self.children[index];
        if child.ask_to_stop(self.now) {
            self.commands.push_back(Command::Stop(child.instance()));
        } else {
            self.abort_one(index);
        }
    }
}

// === going on ===

impl Supervision {
    /// Takes every step that is possible now: what each child is meant to become is decided, this
    /// brings it about in order.
    pub(super) fn advance(&mut self) {
        if let Status::Closed(_) = self.status {
            // What was written off may still end, but the last word has been said.
            return;
        }
        self.forget_removed();
        self.escalate_stuck();
        self.stop_next();
        self.settle();
        self.start_due();
    }

    fn forget_removed(&mut self) {
        let commands = &mut self.commands;
        self.children.retain(|child| {
            let gone = !child.is_live() && child.next == Next::Remove;
            if gone {
                commands.push_back(Command::Forget(child.id));
            }
            !gone
        });
    }

    /// Fails the group if a child must be started whose old life may still go on.
    fn escalate_stuck(&mut self) -> bool {
        let stuck = self
            .children
            .iter()
            .find(|child| child.phase == Phase::WrittenOff && child.next == Next::Start)
            .map(|child| child.id);
        match stuck {
            Some(child) => {
                self.close(Outcome::Stuck { child });
                true
            }
            None => false,
        }
    }

    /// Stops the last child that is to be stopped, once the one before it is down.
    fn stop_next(&mut self) {
        if self.children.iter().any(Child::is_going_down) {
            return;
        }
        if let Some(index) = self.children.iter().rposition(|child| child.doomed) {
            self.stop_one(index);
        }
    }

    fn start_due(&mut self) {
        loop {
            let due = self
                .startable()
                .find(|&index| self.children[index].not_before <= self.now);
            let Some(index) = due else { return };
            let child = &mut self.children[index];
            child.start(self.now);
            self.commands.push_back(Command::Start(child.instance()));
        }
    }

    /// Returns the children that nothing but their backoff keeps from being started.
    pub(super) fn startable(&self) -> impl Iterator<Item = usize> + '_ {
        let first_starting = self.children.iter().position(Child::holds_up_start);
        let turn = match self.status {
            Status::Idle | Status::Closing(_) | Status::Closed(_) => Turn::Nobody,
            Status::Starting | Status::Running => match self.rules.strategy {
                Strategy::OneForOne => Turn::Independent { first_starting },
                Strategy::OneForAll | Strategy::RestForOne if self.in_motion() => Turn::Nobody,
                Strategy::OneForAll | Strategy::RestForOne => {
                    Turn::Only(self.children.iter().position(Child::is_queued))
                }
            },
        };
        let queued = self.children.iter().enumerate();
        queued
            .filter(move |&(index, child)| child.is_queued() && turn.is_of(index, child.cause))
            .map(|(index, _)| index)
    }

    /// Returns whether any child is between two states, so that the next one must wait.
    ///
    /// One that is only doomed waits for another that is going down.
    fn in_motion(&self) -> bool {
        self.children
            .iter()
            .any(|child| child.is_going_down() || child.is_starting())
    }

    /// Notes that the start is complete, or the end.
    fn settle(&mut self) {
        match self.status {
            Status::Starting if self.children.iter().all(Child::is_settled) => {
                self.status = Status::Running;
                self.commands.push_back(Command::Ready);
            }
            Status::Closing(outcome) if self.children.iter().all(Child::is_over) => {
                self.status = Status::Closed(outcome);
                self.commands.push_back(Command::Finish(outcome));
            }
            Status::Idle
            | Status::Starting
            | Status::Running
            | Status::Closing(_)
            | Status::Closed(_) => {}
        }
    }
}

impl Turn {
    fn is_of(self, index: usize, cause: Cause) -> bool {
        match self {
            Self::Nobody => false,
            Self::Only(turn) => turn == Some(index),
            Self::Independent { first_starting } => match cause {
                Cause::Initial => first_starting == Some(index),
                Cause::Added => first_starting.is_none(),
                Cause::Asked | Cause::Restart => true,
            },
        }
    }
}

impl Child {
    /// Returns whether the group may call itself ready as far as this child is concerned.
    ///
    /// A child that was ready and is being restarted keeps the group waiting; one that was added
    /// meanwhile does not.
    fn is_settled(&self) -> bool {
        match self.phase {
            _ if self.cause == Cause::Added => true,
            Phase::Running { .. } | Phase::WrittenOff => true,
            Phase::Down => self.next != Next::Start,
            Phase::Starting { .. } | Phase::Stopping { .. } | Phase::Aborting { .. } => false,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Down | Phase::WrittenOff)
    }
}
