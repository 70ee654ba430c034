//! The machine's face: reports and requests in, commands and verdicts out.

use super::child::{Cause, Child, ChildId, ChildView, End, Instance, Next, Phase};
use super::rejected::{Reason, Rejected};
use super::rules::{AutoShutdown, ChildSpec, Restart, Rules};
use crate::decide::window::Window;
use std::collections::VecDeque;

/// Decides for one group of children what to start, to stop and to give up.
///
/// Children are kept in the order in which they were added: this is the order of starting, and
/// its reverse is the order of stopping. See the [module](super) for the rules and for what the
/// caller owes.
///
/// Each call costs time in proportion to the number of children, and no call panics.
#[derive(Clone, Debug)]
pub struct Supervision {
    pub(super) rules: Rules,
    pub(super) restarts: Window,
    pub(super) children: Vec<Child>,
    pub(super) status: Status,
    pub(super) commands: VecDeque<Command>,
    pub(super) now: u64,
    next_id: u64,
}

/// Tells the shell what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Make the child and run it, now.
    Start(Instance),
    /// Ask this instance to stop.
    Stop(Instance),
    /// End this instance without asking.
    Abort(Instance),
    /// Wait for this instance no longer; it was aborted and did not end. It deserves an alarm:
    /// what it holds may be held for as long as the process lives.
    WriteOff(Instance),
    /// Forget this child: its factory is not needed any more.
    Forget(ChildId),
    /// The initial start is complete, every child is ready or at rest: tell whoever waits for
    /// the group. Said once; later restarts do not take it back.
    Ready,
    /// The group has ended: nothing lives but what was written off. The last command.
    Finish(Outcome),
}

/// Says what an ended child's end leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It was being stopped, or about to be: expected.
    Expected,
    /// By its terms it is not started again.
    GivenUp,
    /// It is started again, with those that the strategy names.
    Restart {
        /// Nanoseconds: not before this instant.
        at: u64,
    },
    /// It ended before it was ever ready: its start failed.
    StartFailed,
    /// It would have to be restarted, and cannot be: once too often, or together with a sibling
    /// that was written off. The group ends; its [`Outcome`] has the reason.
    Escalated,
    /// There is no such instance, or its end was reported before. Nothing follows.
    Unknown,
}

/// Says what the group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It was not started yet.
    Idle,
    /// Its first children are being started, in order.
    Starting,
    /// Its initial start is complete.
    Running,
    /// It is stopping its children, for this reason, and starts nothing any more.
    Closing(Outcome),
    /// It has ended.
    Closed(Outcome),
}

/// Says why the group ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was asked to stop.
    Stopped,
    /// It stopped itself after this significant child was done.
    Significant(ChildId),
    /// This child ended before the initial start was complete.
    StartFailed {
        /// The child that did not get ready.
        child: ChildId,
        /// How it ended.
        end: End,
    },
    /// This child would have to be restarted once more than the intensity allows.
    TooManyRestarts {
        /// The child that ended last.
        child: ChildId,
        /// How it ended.
        end: End,
    },
    /// This child would have to be restarted, but its old life could not be ended.
    Stuck {
        /// The child that was written off.
        child: ChildId,
    },
}

// === impl Supervision ===

impl Supervision {
    /// The most children of one group: 4,096.
    ///
    /// Groups start and stop their children one by one and look at all of them at each step.
    /// Thousands of equal tasks belong in a pool or a scope.
    pub const MAX_CHILDREN: usize = 4_096;

    /// Makes a group without children that was not started yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            restarts: rules.intensity.window(),
            rules,
            children: Vec::new(),
            status: Status::Idle,
            commands: VecDeque::new(),
            now: 0,
            next_id: 1,
        }
    }

    /// Adds a child after all others.
    ///
    /// Before [`start`](Self::start) it becomes one of the first children. Later it is started in
    /// its turn: after an initial start or a restart of the group that is under way. If it does
    /// not get ready then, it is removed again and nothing else happens.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if the group ends or has ended, has
    /// [`MAX_CHILDREN`](Self::MAX_CHILDREN), or if a significant child is permanent or in a group
    /// without [`AutoShutdown`].
    pub fn add(&mut self, spec: ChildSpec, now: u64) -> Result<ChildId, Rejected> {
        self.observe(now);
        self.reject_ended()?;
        if self.children.len() >= Self::MAX_CHILDREN {
            return Err(Reason::Full.into());
        }
        if spec.significant && spec.restart == Restart::Permanent {
            return Err(Reason::SignificantPermanent.into());
        }
        if spec.significant && self.rules.auto_shutdown == AutoShutdown::Never {
            return Err(Reason::SignificantNever.into());
        }
        let id = ChildId(self.next_id);
        self.next_id += 1;
        let mut child = Child::new(id, spec, self.rules.backoff.state());
        if self.status != Status::Idle {
            child.queue(Cause::Added, self.now);
        }
        self.children.push(child);
        self.advance();
        Ok(id)
    }

    /// Starts the children in order, each after the one before is ready.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if the group was started or stopped before; a group lives once.
    pub fn start(&mut self, now: u64) -> Result<(), Rejected> {
        self.observe(now);
        self.reject_ended()?;
        if self.status != Status::Idle {
            return Err(Reason::Started.into());
        }
        self.status = Status::Starting;
        for child in &mut self.children {
            child.queue(Cause::Initial, self.now);
        }
        self.advance();
        Ok(())
    }

    /// Notes that an instance is ready; false if that makes no difference, because it ended, is
    /// being stopped, or was reported before.
    pub fn ready(&mut self, instance: Instance, now: u64) -> bool {
        self.observe(now);
        let now = self.now;
        let Some(child) = self.live_mut(instance) else {
            return false;
        };
        if !child.is_starting() {
            return false;
        }
        child.phase = Phase::Running { since: now };
        child.cause = Cause::Restart;
        self.advance();
        true
    }

    /// Notes that an instance has ended, and says what that leads to.
    ///
    /// `random` is spent on the jitter of the wait, if there is one.
    pub fn ended(&mut self, instance: Instance, end: End, now: u64, random: u64) -> Verdict {
        self.observe(now);
        let Some(index) = self.position_live(instance) else {
            return Verdict::Unknown;
        };
        let verdict = self.judge(index, end, random);
        self.advance();
        verdict
    }

    /// Notes that an instance is over but for something inside of it that cannot be ended, as when
    /// it is a group and a child of that was written off. It is written off itself, and judged as
    /// if it had ended like this; a restart that it would need fails the group with
    /// [`Outcome::Stuck`].
    ///
    /// Its end is still to be reported, should it come.
    pub fn stuck(&mut self, instance: Instance, end: End, now: u64) {
        self.observe(now);
        if let Some(index) = self.position_live(instance) {
            self.write_off_ended(index, end);
            self.advance();
        }
    }

    /// Acts on every limit and wait that is over at `now`.
    pub fn tick(&mut self, now: u64) {
        self.observe(now);
        self.expire();
        self.advance();
    }

    /// Stops all children, last one first, and ends the group.
    ///
    /// A group that is ending already goes on as it was, with its reason.
    pub fn stop(&mut self, now: u64) {
        self.observe(now);
        self.close(Outcome::Stopped);
        self.advance();
    }

    /// Stops one child and keeps it at rest, until it is asked for or the group restarts it.
    ///
    /// It is stopped at once, beside whatever else is under way. A temporary child is removed, as
    /// it will never be started again. Stopping one that is at rest does nothing.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if there is no such child, or the group ends or has ended.
    pub fn stop_child(&mut self, child: ChildId, now: u64) -> Result<(), Rejected> {
        self.take_down(child, Next::Rest, now)
    }

    /// Stops one child, as [`stop_child`](Self::stop_child) does, and removes it.
    ///
    /// [`Command::Forget`] tells when it is gone.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if there is no such child, or the group ends or has ended.
    pub fn remove_child(&mut self, child: ChildId, now: u64) -> Result<(), Rejected> {
        self.take_down(child, Next::Remove, now)
    }

    /// Starts a child that is at rest.
    ///
    /// If it does not get ready it is at rest again and nothing else happens; once ready it is
    /// judged by its terms like any other.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if there is no such child, if it lives or is about to be started, or if the
    /// group is not started, ends or has ended.
    pub fn start_child(&mut self, child: ChildId, now: u64) -> Result<(), Rejected> {
        self.observe(now);
        self.reject_ended()?;
        let index = self.position(child)?;
        if self.status == Status::Idle {
            return Err(Reason::Idle.into());
        }
        let now = self.now;
        let found = &mut self.children[index];
        if found.is_live() || found.is_queued() {
            return Err(Reason::Live(child).into());
        }
        found.queue(Cause::Asked, now);
        self.advance();
        Ok(())
    }

    /// Takes the next command that waits to be carried out.
    #[must_use = "a command that is taken must be carried out"]
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Returns the instant, in nanoseconds, at which [`tick`](Self::tick) will have something to
    /// do; none if only a report can change anything.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        let limits = self.children.iter().filter_map(Child::deadline);
        let waits = self
            .startable()
            .map(|index| self.children[index].not_before);
        limits.chain(waits).min()
    }

    /// Returns what the group is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns how many restarts count against the intensity at `now`: at most one more than it
    /// allows, which reads as *more than allowed*.
    #[must_use]
    pub fn restarts_within(&mut self, now: u64) -> u32 {
        self.observe(now);
        self.restarts.count(self.now)
    }

    /// Shows all children in their order, as they are at this moment.
    pub fn children(&self) -> impl ExactSizeIterator<Item = ChildView> + '_ {
        self.children.iter().map(Child::view)
    }

    /// Takes the later of `now` and all instants known, so that time never goes backwards inside.
    fn observe(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    fn take_down(&mut self, child: ChildId, next: Next, now: u64) -> Result<(), Rejected> {
        self.observe(now);
        self.reject_ended()?;
        let index = self.position(child)?;
        let found = &mut self.children[index];
        let next = match found.spec.restart {
            // Before the group is started it has not run yet, and may.
            Restart::Temporary if self.status != Status::Idle => Next::Remove,
            Restart::Permanent | Restart::Transient | Restart::Temporary => next,
        };
        found.doom(next);
        if found.doomed {
            self.stop_one(index);
        }
        self.advance();
        Ok(())
    }

    fn reject_ended(&self) -> Result<(), Rejected> {
        match self.status {
            Status::Idle | Status::Starting | Status::Running => Ok(()),
            Status::Closing(_) | Status::Closed(_) => Err(Reason::Ended.into()),
        }
    }

    fn position(&self, child: ChildId) -> Result<usize, Rejected> {
        // Ids only grow and children are only appended, so the list is sorted by id.
        self.children
            .binary_search_by_key(&child, |candidate| candidate.id)
            .map_err(|_| Reason::Unknown(child).into())
    }

    fn position_live(&self, instance: Instance) -> Option<usize> {
        let index = self.position(instance.child).ok()?;
        let child = &self.children[index];
        (child.is_live() && child.run == instance.run).then_some(index)
    }

    fn live_mut(&mut self, instance: Instance) -> Option<&mut Child> {
        let index = self.position_live(instance)?;
        Some(&mut self.children[index])
    }
}

// === impl Outcome ===

impl Outcome {
    /// Returns whether the group failed, so that whoever supervises it must act.
    ///
    /// [`Stopped`](Self::Stopped) and [`Significant`](Self::Significant) are ends in good order.
    #[must_use]
    pub fn is_failure(self) -> bool {
        match self {
            Self::Stopped | Self::Significant(_) => false,
            Self::StartFailed { .. } | Self::TooManyRestarts { .. } | Self::Stuck { .. } => true,
        }
    }
}
