//! Those who wait for a permit, and who of them gets the next one.

use super::config::{AdmissionConfig, InvalidAdmission};
use super::gate::Gate;
use super::line::{Entry, Line, Order};
use crate::context::Tier;

/// Keeps requests that found no room, and says who goes next.
///
/// The shell keeps it behind one short lock, beside whatever wakes each waiter. Each call costs a
/// few steps in ordered maps; only when a round of turns begins, the users of its tier are looked
/// through, which were served once each since the last time.
///
/// Time is nanoseconds of one monotonic clock. Deadlines are instants of it.
#[derive(Clone, Debug)]
pub struct AdmissionQueue {
    config: AdmissionConfig,
    lines: [Line; Tier::COUNT],
    waiting: u32,
    next_seq: u64,
    pace: Pace,
}

/// A request that wants to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// How important it is.
    pub tier: Tier,
    /// Who sent it, such as a hash of the client's key; 0 for all who are unknown.
    pub user: u64,
    /// When the answer is of no use any more; `u64::MAX` if that is not known.
    pub deadline: u64,
    /// How long serving it is expected to take, in nanoseconds, such as the median of its route; 0
    /// if that is not known.
    pub service_ns: u64,
}

/// Names a waiter; no two have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    seq: u64,
    tier: Tier,
    user: u64,
    pub(super) since: u64,
    pub(super) leave_at: u64,
}

/// A waiter's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Names it.
    pub ticket: Ticket,
    /// When waiting on is of no use, because the deadline comes too near or the bound on waiting is
    /// reached: the shell then [removes](AdmissionQueue::remove) it and rejects it as
    /// [too late](Rejection::TooLate).
    pub leave_at: u64,
}

/// Answers a request that wants to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a displaced waiter has to be told"]
pub enum Offer {
    /// It waits.
    Queued(Queued),
    /// It waits, in the place of another one, which is to be rejected as
    /// [displaced](Rejection::Displaced).
    Displacing(Queued, Ticket),
    /// It cannot.
    Rejected(Rejection),
}

/// Says why a request does not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// All places are taken by requests that would be served earlier.
    Full,
    /// It would be answered after its deadline, or has waited for as long as anybody may.
    TooLate,
    /// It had a place, which a more important or newer request needed.
    Displaced,
}

/// Says who is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a permit that is neither handed over nor returned is lost"]
pub enum Next {
    /// This one gets the permit.
    Admit(Ticket),
    /// Reject this one as [too late](Rejection::TooLate), and ask again.
    TooLate(Ticket),
}

/// How fast waiters get permits.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    mean_ns: u64,
    /// When the last one came, while others wait.
    last: Option<u64>,
}

// === impl AdmissionQueue ===

impl AdmissionQueue {
    /// Makes an empty one.
    ///
    /// # Errors
    ///
    /// [`InvalidAdmission`] if a number is out of range.
    pub fn new(config: AdmissionConfig) -> Result<Self, InvalidAdmission> {
        config.check()?;
        Ok(Self {
            config,
            lines: Default::default(),
            waiting: 0,
            next_seq: 0,
            pace: Pace::default(),
        })
    }

    /// Changes how it behaves from now on. Whoever waits goes on waiting, for as long as it was told;
    /// in a queue that has become shorter, places are given out anew only once there are fewer.
    ///
    /// # Errors
    ///
    /// [`InvalidAdmission`] if a number is out of range; nothing has changed then.
    pub fn set_config(&mut self, config: AdmissionConfig) -> Result<(), InvalidAdmission> {
        config.check()?;
        self.config = config;
        Ok(())
    }

    /// Lets a request wait, if it can still be answered in time and there is a place for it.
    ///
    /// In a full queue the places belong to those who would be served first. Whoever would be served
    /// last has to go: in the least important tier that is not more important than the newcomer's
    /// and has more places than are guaranteed to it. That may be the newcomer.
    pub fn offer(&mut self, waiter: Waiter, now: u64) -> Offer {
        if !waiter.can_finish(self.expected_wait_ns(waiter.tier, now), now) {
            return Offer::Rejected(Rejection::TooLate);
        }
        if self.waiting >= self.config.waiting_max && self.goes_last(&waiter, now) {
            #[cfg(test)]
            self.assert_loses_its_place(waiter, now);
            return Offer::Rejected(Rejection::Full);
        }
        let queued = self.push(waiter, now);
        if self.waiting <= self.config.waiting_max {
            return Offer::Queued(queued);
        }
        match self.evict(waiter.tier, now) {
            Some(ticket) if ticket == queued.ticket => Offer::Rejected(Rejection::Full),
            Some(ticket) => Offer::Displacing(queued, ticket),
            None => unreachable!("a queue that is too full is not empty"),
        }
    }

    /// Hands a permit of `gate` to whoever is to be served next; `None` if nobody waits.
    ///
    /// A tier that has fewer permits than its guaranteed share comes first, more important ones
    /// before others; if there is none, importance alone decides.
    pub fn next(&mut self, gate: &Gate, now: u64) -> Option<Next> {
        let tier = self.tier_to_serve(gate)?;
        let line = &mut self.lines[usize::from(tier.number())];
        let order = line.order(now, self.config.standing_after.as_nanos() as u64);
        let entry = line.pop_first(order)?;
        self.waiting -= 1;
        let ticket = Ticket::of(&entry, tier);
        if entry.leave_at < now {
            return Some(Next::TooLate(ticket));
        }
        self.pace.note(now, self.waiting > 0);
        gate.count(tier);
        Some(Next::Admit(ticket))
    }

    /// Hands on a permit that a leaving request [left over](super::Leave::HandOver): to whoever is
    /// next, or back to the gate if nobody waits any more. `tell` hears of each waiter that this
    /// decides about; at most the last one is admitted.
    pub fn hand_over(&mut self, gate: &Gate, now: u64, mut tell: impl FnMut(Next)) {
        loop {
            match self.next(gate, now) {
                Some(next @ Next::Admit(_)) => break tell(next),
                Some(next @ Next::TooLate(_)) => tell(next),
                None => return gate.leave_idle(),
            }
        }
        self.unmark(gate);
    }

    /// Lets waiters in for as long as there is room: after each [`offer`](Self::offer) and after
    /// the limit rose. If some are left, the gate is marked, so that leaving requests hand over.
    ///
    /// After an offer, because between the failed attempt to enter and the lock the last request
    /// may have left, and then nobody would ever hand over.
    pub fn fill(&mut self, gate: &Gate, now: u64, mut tell: impl FnMut(Next)) {
        while !self.is_empty() && gate.enter_or_wait() {
            self.hand_over(gate, now, &mut tell);
        }
        self.unmark(gate);
    }

    /// Opens the gate's short way again as soon as the last one is in, instead of at the next leave.
    fn unmark(&self, gate: &Gate) {
        if self.is_empty() {
            gate.nobody_waits();
        }
    }

    /// Takes out a waiter whose time is over or whose client is gone; returns whether it was still
    /// there.
    ///
    /// If not, it was decided about before: a client that is gone has to give its permit back, if
    /// that is what it got.
    pub fn remove(&mut self, ticket: Ticket) -> bool {
        let line = &mut self.lines[usize::from(ticket.tier.number())];
        let removed = line.remove(ticket.user, ticket.seq).is_some();
        self.waiting -= u32::from(removed);
        removed
    }

    /// Returns how many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting as usize
    }

    /// Returns whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Returns how many of a tier wait.
    #[must_use]
    pub fn len_of(&self, tier: Tier) -> usize {
        self.lines[usize::from(tier.number())].len() as usize
    }

    /// Returns how long a request of a tier that comes now would wait, in nanoseconds, if no more
    /// important one came after it and permits kept coming as they did; 0 as long as that is not
    /// known.
    ///
    /// This is the least it can expect, so that nobody is rejected for a wait that would not have
    /// been.
    #[must_use]
    pub fn expected_wait_ns(&self, tier: Tier, now: u64) -> u64 {
        let tier = usize::from(tier.number());
        let standing_after = self.config.standing_after.as_nanos() as u64;
        let own = match self.lines[tier].order(now, standing_after) {
            Order::OldestFirst => 1,
            Order::NewestFirst => 0,
        };
        let ahead: u32 = self.lines[..tier].iter().map(Line::len).sum();
        let ahead = ahead + own * self.lines[tier].len();
        self.pace.between_ns(now).saturating_mul(u64::from(ahead))
    }

    pub(super) fn config(&self) -> &AdmissionConfig {
        &self.config
    }

    /// How long it takes until everybody who waits now in a tier or a more important one has a
    /// permit; `None` as long as that is not known.
    pub(super) fn drained_after_ns(&self, tier: Tier, now: u64) -> Option<u64> {
        let tier = usize::from(tier.number());
        let ahead: u32 = self.lines[..=tier].iter().map(Line::len).sum();
        let between = self.pace.between_ns(now);
        (between > 0).then(|| between.saturating_mul(u64::from(ahead)))
    }

    fn push(&mut self, waiter: Waiter, now: u64) -> Queued {
        let wait_max = self.config.wait_max.as_nanos() as u64;
        let entry = Entry {
            user: waiter.user,
            seq: self.next_seq,
            since: now,
            leave_at: waiter.latest_start().min(now.saturating_add(wait_max)),
        };
        self.next_seq += 1;
        self.waiting += 1;
        self.lines[usize::from(waiter.tier.number())].push(entry, now);
        Queued {
            ticket: Ticket::of(&entry, waiter.tier),
            leave_at: entry.leave_at,
        }
    }

    fn evict(&mut self, newcomer: Tier, now: u64) -> Option<Ticket> {
        let tier = self.tier_to_evict(usize::from(newcomer.number()), 0);
        let line = &mut self.lines[tier];
        let order = line.order(now, self.config.standing_after.as_nanos() as u64);
        let entry = line.pop_last(order)?;
        self.waiting -= 1;
        Some(Ticket::of(&entry, Tier::new(tier as u8)?))
    }

    /// In every test: who is rejected at a look would have been rejected with a place.
    #[cfg(test)]
    fn assert_loses_its_place(&self, newcomer: Waiter, now: u64) {
        let mut taken = self.clone();
        let queued = taken.push(newcomer, now);
        assert_eq!(taken.evict(newcomer.tier, now), Some(queued.ticket));
    }

    /// Tells whether a newcomer to a full queue would be served last, as far as that is known at a look: a
    /// flood of those who are rejected need not take a place first, to lose it again.
    fn goes_last(&self, newcomer: &Waiter, now: u64) -> bool {
        let tier = usize::from(newcomer.tier.number());
        let line = &self.lines[tier];
        let standing_after = self.config.standing_after.as_nanos() as u64;
        self.tier_to_evict(tier, 1) == tier
            && line.order(now, standing_after) == Order::OldestFirst
            && line.ends_with(newcomer.user)
    }

    /// The least important tier that may lose a place to one of tier `newcomer`.
    fn tier_to_evict(&self, newcomer: usize, coming: u32) -> usize {
        let len = |tier: usize| {
            let coming = if tier == newcomer { coming } else { 0 };
            self.lines[tier].len() + coming
        };
        let is_over = |tier: usize| len(tier) > self.config.share(tier, self.config.waiting_max);
        // A newcomer within its share may take a place that a more important tier has borrowed.
        let most_important = if is_over(newcomer) { newcomer } else { 0 };
        (most_important..Tier::COUNT)
            .rev()
            .find(|&tier| is_over(tier))
            .unwrap_or(newcomer)
    }

    fn tier_to_serve(&self, gate: &Gate) -> Option<Tier> {
        let waiting = || {
            (0..Tier::COUNT as u8)
                .filter_map(Tier::new)
                .filter(|tier| !self.lines[usize::from(tier.number())].is_empty())
        };
        let limit = gate.limit();
        waiting()
            .find(|&tier| {
                let share = self.config.share(usize::from(tier.number()), limit);
                gate.in_flight_of(tier) < share
            })
            .or_else(|| waiting().next())
    }
}

// === impl Waiter ===

impl Waiter {
    /// Makes a waiter of a tier, of an unknown user, without a deadline.
    #[must_use]
    pub fn new(tier: Tier) -> Self {
        Self {
            tier,
            user: 0,
            deadline: u64::MAX,
            service_ns: 0,
        }
    }

    /// Returns whether it would be answered by its deadline, if it had to wait for so long first;
    /// ask with 0 before [`Gate::try_enter`], so that nothing is started that cannot end in time.
    #[must_use]
    pub fn can_finish(&self, wait_ns: u64, now: u64) -> bool {
        now.saturating_add(wait_ns) <= self.latest_start()
    }

    fn latest_start(&self) -> u64 {
        self.deadline.saturating_sub(self.service_ns)
    }
}

// === impl Ticket ===

impl Ticket {
    /// Returns the waiter's tier.
    #[must_use]
    pub fn tier(self) -> Tier {
        self.tier
    }

    /// Returns since when it waits, in nanoseconds.
    #[must_use]
    pub fn since(self) -> u64 {
        self.since
    }

    fn of(entry: &Entry, tier: Tier) -> Self {
        Self {
            seq: entry.seq,
            tier,
            user: entry.user,
            since: entry.since,
            leave_at: entry.leave_at,
        }
    }
}

// === impl Pace ===

impl Pace {
    /// The weight of what is newest in the mean: an eighth, so that a pause is forgotten after a few
    /// tens of permits.
    const SHIFT: u32 = 3;

    /// Notes that a waiter got a permit, and whether others still wait: only then does the time to
    /// the next permit say anything.
    fn note(&mut self, now: u64, others_wait: bool) {
        if let Some(last) = self.last {
            self.mean_ns = self.with(now.saturating_sub(last));
        }
        self.last = others_wait.then_some(now);
    }

    /// The mean time from one to the next, in nanoseconds; 0 when unknown. A permit that has not
    /// come for long counts as if it came now, so that a stall is noticed while it lasts.
    fn between_ns(&self, now: u64) -> u64 {
        let open = self.last.map_or(0, |last| now.saturating_sub(last));
        if self.mean_ns > 0 && open > self.mean_ns {
            self.with(open)
        } else {
            self.mean_ns
        }
    }

    fn with(&self, between_ns: u64) -> u64 {
        match self.mean_ns {
            0 => between_ns,
            mean => mean - (mean >> Self::SHIFT) + (between_ns >> Self::SHIFT),
        }
    }
}
