use smallvec::SmallVec;

use super::crew::{Card, Crew, Running};
use super::door::Door;
use super::inbox::{Arrival, Inbox};
use super::queue::Queue;
use super::ticket::Reason;
use crate::context::Tier;
use crate::scope::Verdict;

/// How many starts in a row may pass over a lower tier that waits: 64. Then the oldest task of
/// those tiers starts. It costs the more important ones at most 1.6 % of the workers, and only
/// while there is not enough for all; in return, what was accepted runs.
pub const PASSED_OVER_MAX: u32 = 64;

/// The queue and the crew of a pool as one machine without clock or lock: all that is decided
/// about who runs when.
///
/// `J` is a task, `W` wakes whoever waits. Nobody is woken in here; who is to be woken is put
/// into a [`Wakes`], for after the lock. Calls that are handed the [`Inbox`] take over what is in
/// it first, and leave its invariants true.
///
/// Invariants, after each call:
/// 1. In every tier, queued tasks and kept room are at most `queue_max`; somebody waits at the
///    door only when they are exactly that.
/// 2. While a task is queued and a worker rests, a worker is on its way.
/// 3. A task starts only while `in_flight` is below the target.
/// 4. When closed, nobody waits at a door, and a worker that finds no task leaves.
pub(super) struct Line<J, W> {
    queues: [Queue<J>; Tier::COUNT],
    doors: [Door<W>; Tier::COUNT],
    crew: Crew<W>,
    counts: Counts,
    /// Bit `t` says that tier `t` has a task queued.
    queued: u8,
    passed_over: u32,
    queue_max: usize,
    open: bool,
    /// An empty place to put what comes out of the inbox.
    taken_over: Vec<Arrival<J>>,
}

/// Who is to be woken once the lock is free.
pub(super) type Wakes<W> = SmallVec<[W; 2]>;

/// Numbers that only grow.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) panicked: u64,
    pub(super) cancelled: u64,
    pub(super) rejected_full: u64,
    pub(super) rejected_late: u64,
    pub(super) rejected_closed: u64,
    pub(super) started: [u64; Tier::COUNT],
    /// How long those that started had waited, in nanoseconds.
    pub(super) waited: [u64; Tier::COUNT],
}

/// What can be told about a task.
pub(super) trait Carded {
    fn card(&self) -> Card;
}

/// Why a task does not enter the queue; it is handed back.
pub(super) enum Refused<J> {
    Full(J),
    Closed(J),
}

/// What a worker does next.
pub(super) enum Next<J> {
    Start(J),
    Rest,
    /// Leave for good.
    Leave,
}

impl<J: Carded, W: Clone> Line<J, W> {
    /// `queue_max` and `target` are at least 1.
    pub(super) fn new(queue_max: usize, target: usize) -> Self {
        Self {
            queues: [const { Queue::new() }; Tier::COUNT],
            doors: [const { Door::new() }; Tier::COUNT],
            crew: Crew::new(target),
            counts: Counts::default(),
            queued: 0,
            passed_over: 0,
            queue_max,
            open: true,
            taken_over: Vec::new(),
        }
    }

    pub(super) fn crew(&self) -> &Crew<W> {
        &self.crew
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Tells whether all is over: nothing runs, nothing will.
    pub(super) fn has_ended(&self) -> bool {
        !self.open && self.crew.size() == 0
    }

    pub(super) fn depth(&self, tier: usize) -> usize {
        self.queues[tier].depth()
    }

    /// How many submitters wait for room.
    pub(super) fn at_door(&self, tier: usize) -> usize {
        self.doors[tier].len()
    }

    /// Since when the oldest queued task of a tier waits.
    pub(super) fn oldest(&self, tier: usize) -> Option<u64> {
        self.queues[tier].oldest().map(|(_, since)| since)
    }

    /// Takes over what is in the inbox.
    pub(super) fn take_over(&mut self, inbox: &mut Inbox<J>) {
        inbox.empty_into(&mut self.taken_over);
        let mut arrivals = std::mem::take(&mut self.taken_over);
        for arrival in arrivals.drain(..) {
            self.queue(arrival);
        }
        self.taken_over = arrivals;
    }

    /// Queues a task if there is room; gives its number.
    pub(super) fn enter(
        &mut self,
        inbox: &mut Inbox<J>,
        tier: Tier,
        now: u64,
        task: J,
        wakes: &mut Wakes<W>,
    ) -> Result<u64, Refused<J>> {
        if !self.open {
            return Err(Refused::Closed(task));
        }
        self.take_over(inbox);
        let room = self.room(tier);
        // Without room there is no credit, by its invariants 1 and 2.
        if room == 0 {
            return Err(Refused::Full(task));
        }
        inbox.set_credit(tier, room - 1);
        let number = inbox.number();
        self.queue(Arrival {
            number,
            tier,
            since: now,
            task,
        });
        self.settle(inbox, wakes);
        Ok(number)
    }

    /// Waits for room after it was refused; gives a number to come back with.
    pub(super) fn wait(&mut self, inbox: &mut Inbox<J>, tier: Tier, waker: W) -> u64 {
        debug_assert!(self.open, "only who was refused for want of room waits");
        let number = inbox.number();
        self.door(tier).wait(number, waker);
        number
    }

    /// Gives the waker of a submitter that still waits.
    pub(super) fn waiting(&mut self, tier: Tier, number: u64) -> Option<&mut W> {
        self.door(tier).waiting(number)
    }

    /// Queues the task of a submitter that waits no longer: in the room kept for it.
    pub(super) fn enter_kept(
        &mut self,
        inbox: &mut Inbox<J>,
        tier: Tier,
        now: u64,
        task: J,
        wakes: &mut Wakes<W>,
    ) -> Result<u64, Refused<J>> {
        if !self.open {
            return Err(Refused::Closed(task));
        }
        self.take_over(inbox);
        self.door(tier).give_up();
        let number = inbox.number();
        self.queue(Arrival {
            number,
            tier,
            since: now,
            task,
        });
        self.settle(inbox, wakes);
        Ok(number)
    }

    /// A submitter comes no more: strikes it out, or passes on the room kept for it. Gives its
    /// waker, to be dropped after the lock.
    pub(super) fn give_up(&mut self, tier: Tier, number: u64, wakes: &mut Wakes<W>) -> Option<W> {
        let waker = self.door(tier).strike(number);
        if waker.is_none() && self.open {
            self.door(tier).give_up();
            self.keep(usize::from(tier.number()), wakes);
        }
        waker
    }

    /// Takes a task out of the queue, if it has not been started; it counts as cancelled.
    pub(super) fn withdraw(
        &mut self,
        inbox: &mut Inbox<J>,
        tier: Tier,
        number: u64,
        wakes: &mut Wakes<W>,
    ) -> Option<J> {
        self.take_over(inbox);
        let tier = usize::from(tier.number());
        let task = self.queues[tier].withdraw(number);
        if task.is_some() {
            self.counts.cancelled += 1;
            self.left(tier, wakes);
        }
        self.settle(inbox, wakes);
        task
    }

    /// Notes by what a worker is woken.
    pub(super) fn enroll(&mut self, id: usize, waker: W) {
        self.crew.enroll(id, waker);
    }

    /// A worker has ended a task, or has none, and comes for the next: [`tell`](Self::tell) says
    /// which.
    pub(super) fn arrive(&mut self, id: usize, ended: Option<Verdict>) {
        self.crew.arrive(id);
        if let Some(verdict) = ended {
            self.count(verdict);
        }
    }

    /// Tells whether the next task may be one in the inbox, where `posted` has a bit for each
    /// tier of which there is something. If a tier has a task queued here, it is older.
    pub(super) fn needs(&self, posted: u8) -> bool {
        self.queued == 0 || posted & !self.queued != 0
    }

    /// Says what a worker that has arrived does next.
    pub(super) fn tell(&mut self, id: usize, now: u64, wakes: &mut Wakes<W>) -> Next<J> {
        let next = if self.crew.surplus() > 0 {
            Next::Leave
        } else if let Some(tier) = self.pick() {
            Next::Start(self.start(id, tier, now, wakes))
        } else if self.open {
            Next::Rest
        } else {
            Next::Leave
        };
        match next {
            Next::Start(_) => {}
            Next::Rest => self.crew.rest(id),
            Next::Leave => self.crew.leave(id),
        }
        self.call(wakes);
        next
    }

    /// Tells whether a submitter would have to call a worker, and must be told so by
    /// [`settle`](Self::settle).
    pub(super) fn is_unsettled(&self) -> bool {
        self.queued == 0 && self.crew.can_call()
    }

    /// Calls a worker if there is something to do for it; if not, the next submitter will.
    pub(super) fn settle(&mut self, inbox: &mut Inbox<J>, wakes: &mut Wakes<W>) {
        self.take_over(inbox);
        self.call(wakes);
        inbox.set_call(self.crew.can_call());
    }

    /// A worker is gone without having been told to leave. Gives what nobody will run: all that
    /// is queued, if it was the last one.
    pub(super) fn lost(&mut self, inbox: &mut Inbox<J>, id: usize, wakes: &mut Wakes<W>) -> Vec<J> {
        if self.crew.arrive(id) {
            self.count(Verdict::Cancelled);
        }
        self.crew.leave(id);
        if self.crew.size() > 0 {
            self.take_over(inbox);
            self.settle(inbox, wakes);
            return Vec::new();
        }
        self.close(inbox, wakes);
        self.clear()
    }

    /// Changes the number of workers; gives the ids of those to be started.
    pub(super) fn resize(
        &mut self,
        inbox: &mut Inbox<J>,
        target: usize,
        wakes: &mut Wakes<W>,
    ) -> Vec<usize> {
        self.take_over(inbox);
        self.crew.set_target(target);
        for _ in 0..self.crew.surplus() {
            wakes.extend(self.crew.wake());
        }
        let hired = if self.open || self.queued != 0 {
            self.crew.hire()
        } else {
            Vec::new()
        };
        self.settle(inbox, wakes);
        hired
    }

    /// Accepts no more tasks; what is queued still runs.
    pub(super) fn close(&mut self, inbox: &mut Inbox<J>, wakes: &mut Wakes<W>) {
        self.take_over(inbox);
        inbox.close();
        self.open = false;
        for door in &mut self.doors {
            wakes.extend(door.clear());
        }
        while let Some(waker) = self.crew.wake() {
            wakes.push(waker);
        }
    }

    /// Accepts no more tasks; gives all that is queued, which counts as cancelled. Wakes the busy
    /// workers, too.
    pub(super) fn stop(&mut self, inbox: &mut Inbox<J>, wakes: &mut Wakes<W>) -> Vec<J> {
        self.close(inbox, wakes);
        wakes.extend(self.crew.busy());
        self.clear()
    }

    pub(super) fn rejected(&mut self, reason: Reason) {
        match reason {
            Reason::Full { .. } => self.counts.rejected_full += 1,
            Reason::Late { .. } => self.counts.rejected_late += 1,
            Reason::Closed => self.counts.rejected_closed += 1,
        }
    }

    fn door(&mut self, tier: Tier) -> &mut Door<W> {
        &mut self.doors[usize::from(tier.number())]
    }

    /// How many tasks a submitter that comes now could queue.
    fn room(&mut self, tier: Tier) -> usize {
        let depth = self.depth(usize::from(tier.number()));
        let door = self.door(tier);
        if door.len() > 0 {
            return 0;
        }
        let taken = depth + door.kept();
        self.queue_max.saturating_sub(taken)
    }

    fn queue(&mut self, arrival: Arrival<J>) {
        let tier = usize::from(arrival.tier.number());
        self.queues[tier].push(arrival.number, arrival.since, arrival.task);
        self.queued |= 1 << tier;
    }

    fn start(&mut self, id: usize, tier: usize, now: u64, wakes: &mut Wakes<W>) -> J {
        let (task, since) = self.queues[tier].pop().expect("the tier has a task");
        self.left(tier, wakes);
        self.counts.started[tier] += 1;
        self.counts.waited[tier] += now.saturating_sub(since);
        let card = task.card();
        self.crew.start(id, Running { card, since: now });
        task
    }

    /// Chooses the tier of the next start: the most important one, except when others were
    /// passed over too often; then the one of them whose task waits longest.
    fn pick(&mut self) -> Option<usize> {
        if self.queued == 0 {
            return None;
        }
        let first = self.queued.trailing_zeros() as usize;
        let lower = self.queued & !(1 << first);
        if lower == 0 {
            self.passed_over = 0;
            return Some(first);
        }
        if self.passed_over < PASSED_OVER_MAX {
            self.passed_over += 1;
            return Some(first);
        }
        self.passed_over = 0;
        let lower = (0..Tier::COUNT).filter(|tier| lower & (1 << tier) != 0);
        lower.min_by_key(|tier| self.queues[*tier].oldest())
    }

    /// A task has left the queue of a tier.
    fn left(&mut self, tier: usize, wakes: &mut Wakes<W>) {
        if self.queues[tier].depth() == 0 {
            self.queued &= !(1 << tier);
        }
        self.keep(tier, wakes);
    }

    /// Keeps free room for those who wait for it.
    fn keep(&mut self, tier: usize, wakes: &mut Wakes<W>) {
        let door = &mut self.doors[tier];
        if self.queues[tier].depth() + door.kept() < self.queue_max {
            wakes.extend(door.keep());
        }
    }

    /// Calls a worker if there is something to do for it.
    fn call(&mut self, wakes: &mut Wakes<W>) {
        if self.queued != 0 {
            wakes.extend(self.crew.call());
        }
    }

    fn clear(&mut self) -> Vec<J> {
        self.queued = 0;
        let tasks: Vec<_> = self.queues.iter_mut().flat_map(Queue::clear).collect();
        self.counts.cancelled += tasks.len() as u64;
        tasks
    }

    fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Ok => self.counts.completed += 1,
            Verdict::Err => self.counts.failed += 1,
            Verdict::Panicked => self.counts.panicked += 1,
            Verdict::Cancelled => self.counts.cancelled += 1,
        }
    }
}

#[cfg(test)]
mod tests;
