use crate::context::Tier;

/// Where submitters put their tasks, apart from the [`Line`](super::line::Line) from which workers
/// take them: so that the two sides do not fight for one lock, and its memory, at every task. A
/// worker that runs out of tasks takes over all that is here at once.
///
/// Which tier has how much room is known to the line alone. It gives out what is free as credit,
/// and while there is credit a submitter need not ask.
///
/// Invariants:
/// 1. The credit of a tier, what is here of it, and what is queued and kept for it in the line
///    are at most `queue_max` together.
/// 2. While somebody waits at the door of a tier, it has no credit.
/// 3. While a worker rests that should be called, `call` is set.
pub(super) struct Inbox<J> {
    arrivals: Vec<Arrival<J>>,
    credit: [usize; Tier::COUNT],
    /// Numbers tasks and waiting submitters in the order in which they came.
    next_number: u64,
    /// The next submitter has a worker to call, and must go to the line.
    call: bool,
    open: bool,
}

/// A task that was accepted.
pub(super) struct Arrival<J> {
    pub(super) number: u64,
    pub(super) tier: Tier,
    /// Since when, in nanoseconds.
    pub(super) since: u64,
    pub(super) task: J,
}

/// What a submitter at the inbox gets.
pub(super) enum Posted<J> {
    /// The number of the task.
    Accepted(u64),
    /// Whether there is room must be asked at the line.
    Ask(J),
    Closed(J),
}

impl<J> Inbox<J> {
    pub(super) const fn new() -> Self {
        Self {
            arrivals: Vec::new(),
            credit: [0; Tier::COUNT],
            next_number: 0,
            call: true,
            open: true,
        }
    }

    /// Accepts a task, if that needs no look at the line.
    pub(super) fn post(&mut self, tier: Tier, since: u64, task: J) -> Posted<J> {
        if !self.open {
            return Posted::Closed(task);
        }
        let credit = &mut self.credit[usize::from(tier.number())];
        if *credit == 0 || self.call {
            return Posted::Ask(task);
        }
        *credit -= 1;
        let number = self.number();
        self.arrivals.push(Arrival {
            number,
            tier,
            since,
            task,
        });
        Posted::Accepted(number)
    }

    /// Gives the next number.
    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Hands over all that is here, in exchange for an empty place to put more.
    pub(super) fn empty_into(&mut self, other: &mut Vec<Arrival<J>>) {
        debug_assert!(other.is_empty(), "what was handed over is queued at once");
        std::mem::swap(&mut self.arrivals, other);
    }

    pub(super) fn set_credit(&mut self, tier: Tier, credit: usize) {
        self.credit[usize::from(tier.number())] = credit;
    }

    pub(super) fn set_call(&mut self, call: bool) {
        self.call = call;
    }

    pub(super) fn close(&mut self) {
        self.open = false;
    }
}
