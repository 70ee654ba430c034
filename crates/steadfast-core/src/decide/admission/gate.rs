//! The word that requests pass while nobody waits.

use crate::context::Tier;
use crate::decide::atomic::{AtomicU32, AtomicU64, Ordering};

/// Counts who is in flight, and lets requests in without a lock while nobody waits.
///
/// The limit, the number in flight and whether anybody waits are one word, so that no request can
/// slip between them: either a leaving request sees that somebody waits, or whoever is about to wait
/// sees that it has left. How many each tier has stands beside the word, for the shares of the queue;
/// it may be behind by the requests that are passing at this moment.
///
/// A permit is what [`try_enter`](Self::try_enter) or [`enter_or_wait`](Self::enter_or_wait) gave,
/// until [`leave`](Self::leave). The gate does not hand out a value for it: the shell owns one that
/// leaves when it is dropped.
#[derive(Debug)]
pub struct Gate {
    word: AtomicU64,
    tiers: [AtomicU32; Tier::COUNT],
}

/// Tells a leaving request what to do with its permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a permit that is neither handed over nor returned is lost"]
pub enum Leave {
    /// Nothing: it is returned.
    Returned,
    /// Hand it to the [next](super::AdmissionQueue::next) waiter, under the lock of the queue; if
    /// there is none, return it with [`Gate::leave_idle`].
    HandOver,
}

/// What the word holds: the limit above, the number in flight below, the mark of waiting on top.
#[derive(Clone, Copy)]
struct Word(u64);

const WAITING: u64 = 1 << 63;
const LIMIT_SHIFT: u32 = 32;

// === impl Gate ===

impl Gate {
    /// The highest limit: 2³¹ − 1. A limit from [`decide::limit`](crate::decide::limit) is always
    /// lower.
    pub const MAX: u32 = u32::MAX >> 1;

    /// Makes a gate that lets `limit` in at a time; limits above [`MAX`](Self::MAX) are brought down
    /// to it.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self {
            word: AtomicU64::new(Word(0).with_limit(limit).0),
            tiers: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }

    /// Takes a permit if there is room and nobody waits.
    ///
    /// A rejection writes nothing.
    #[must_use = "a permit that is not returned is lost"]
    pub fn try_enter(&self, tier: Tier) -> bool {
        let entered = self
            .update(|word| (!word.is_waiting() && word.has_room()).then(|| word.one_more()))
            .is_some();
        if entered {
            self.count(tier);
        }
        entered
    }

    /// Gives back a permit of a tier, or says to hand it over.
    ///
    /// With more in flight than the limit, because it was lowered, the permit is returned even if
    /// others wait.
    pub fn leave(&self, tier: Tier) -> Leave {
        // First, so that a share is never thought to be used by somebody who has left.
        self.tiers[usize::from(tier.number())].fetch_sub(1, Ordering::Relaxed);
        let returned =
            self.update(|word| (!word.is_waiting() || word.is_over()).then(|| word.one_less()));
        match returned {
            Some(_) => Leave::Returned,
            None => Leave::HandOver,
        }
    }

    /// Returns a permit that was to be handed over, when nobody waits any more; call it under the
    /// lock of the queue. [`AdmissionQueue::hand_over`](super::AdmissionQueue::hand_over) does.
    pub fn leave_idle(&self) {
        self.update(|word| Some(word.one_less().with_waiting(false)));
    }

    /// Takes a permit for the [next](super::AdmissionQueue::next) waiter if there is room; otherwise
    /// marks that somebody waits, so that leaving requests hand theirs over. Call it under the lock
    /// of the queue, when it is not empty. [`AdmissionQueue::fill`](super::AdmissionQueue::fill) does.
    #[must_use = "a permit that is not returned is lost"]
    pub fn enter_or_wait(&self) -> bool {
        let before = self.update(|word| {
            Some(if word.has_room() {
                word.one_more()
            } else {
                word.with_waiting(true)
            })
        });
        before.is_some_and(Word::has_room)
    }

    /// Changes the limit.
    ///
    /// A lower one takes effect as requests leave. After a higher one
    /// [fill](super::AdmissionQueue::fill).
    pub fn set_limit(&self, limit: u32) {
        self.update(|word| Some(word.with_limit(limit)));
    }

    /// Returns the limit.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.load().limit()
    }

    /// Returns how many are in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.load().in_flight()
    }

    /// Returns how many of a tier are in flight, those that enter or leave at this moment left out.
    #[must_use]
    pub fn in_flight_of(&self, tier: Tier) -> u32 {
        self.tiers[usize::from(tier.number())].load(Ordering::Relaxed)
    }

    /// Takes the mark of waiting away; under the lock of the queue, when it is empty. Who has seen
    /// the mark before and comes to hand over finds nobody, and returns the permit.
    pub(super) fn nobody_waits(&self) {
        self.update(|word| word.is_waiting().then(|| word.with_waiting(false)));
    }

    /// Counts a permit that was handed over to a waiter of a tier.
    pub(super) fn count(&self, tier: Tier) {
        self.tiers[usize::from(tier.number())].fetch_add(1, Ordering::Relaxed);
    }

    fn load(&self) -> Word {
        Word(self.word.load(Ordering::Relaxed))
    }

    /// Changes the word as long as `change` wants to; returns what it was before.
    ///
    /// Acquire and release, because permits are handed on: what a request did to something shared,
    /// such as a connection, is seen by the one that gets its permit.
    fn update(&self, change: impl Fn(Word) -> Option<Word>) -> Option<Word> {
        let mut word = self.load();
        loop {
            let next = change(word)?;
            match self.word.compare_exchange_weak(
                word.0,
                next.0,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(word),
                Err(newer) => word = Word(newer),
            }
        }
    }
}

// === impl Word ===

impl Word {
    fn limit(self) -> u32 {
        ((self.0 & !WAITING) >> LIMIT_SHIFT) as u32
    }

    fn in_flight(self) -> u32 {
        self.0 as u32
    }

    fn is_waiting(self) -> bool {
        self.0 & WAITING != 0
    }

    fn has_room(self) -> bool {
        self.in_flight() < self.limit()
    }

    fn is_over(self) -> bool {
        self.in_flight() > self.limit()
    }

    fn one_more(self) -> Self {
        Self(self.0 + 1)
    }

    fn one_less(self) -> Self {
        debug_assert!(self.in_flight() > 0, "a permit was returned twice");
        Self(self.0 - 1)
    }

    fn with_waiting(self, waiting: bool) -> Self {
        Self(if waiting {
            self.0 | WAITING
        } else {
            self.0 & !WAITING
        })
    }

    fn with_limit(self, limit: u32) -> Self {
        let limit = u64::from(limit.min(Gate::MAX)) << LIMIT_SHIFT;
        Self(self.0 & (WAITING | u64::from(u32::MAX)) | limit)
    }
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lets_in_up_to_the_limit() {
        let gate = Gate::new(2);

        let entered = [(); 3].map(|()| gate.try_enter(Tier::CORE));

        assert_eq!(entered, [true, true, false]);
        assert_eq!(gate.in_flight_of(Tier::CORE), 2);
        assert_eq!(gate.leave(Tier::CORE), Leave::Returned);
        assert!(gate.try_enter(Tier::DEFAULT));
    }

    #[test]
    fn nobody_passes_those_who_wait() {
        let gate = Gate::new(1);
        assert!(gate.try_enter(Tier::DEFAULT));
        assert!(!gate.enter_or_wait());

        gate.set_limit(5);

        assert!(!gate.try_enter(Tier::CORE), "somebody waits");
        assert!(gate.enter_or_wait(), "and now gets in");
        assert_eq!(gate.leave(Tier::DEFAULT), Leave::HandOver);
        gate.leave_idle();
        assert!(gate.try_enter(Tier::CORE), "nobody waits any more");
    }

    #[test]
    fn a_lowered_limit_is_reached_before_anything_is_handed_over() {
        let gate = Gate::new(3);
        for _ in 0..3 {
            assert!(gate.try_enter(Tier::CORE));
        }
        assert!(!gate.enter_or_wait());

        gate.set_limit(1);

        assert_eq!(
            [(); 3].map(|()| gate.leave(Tier::CORE)),
            [Leave::Returned, Leave::Returned, Leave::HandOver]
        );
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        TryEnter,
        Leave,
        EnterOrWait,
        Limit(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::TryEnter),
            Just(Step::Leave),
            Just(Step::EnterOrWait),
            (0u32..6).prop_map(Step::Limit),
        ]
    }

    proptest! {
        #[test]
        fn the_word_is_a_counter_a_limit_and_a_mark(steps in prop::collection::vec(step(), 0..60)) {
            let gate = Gate::new(3);
            let (mut limit, mut in_flight, mut waiting) = (3u32, 0u32, false);

            for step in steps {
                match step {
                    Step::TryEnter => {
                        let enters = !waiting && in_flight < limit;
                        prop_assert_eq!(gate.try_enter(Tier::CORE), enters);
                        in_flight += u32::from(enters);
                    }
                    Step::EnterOrWait => {
                        let enters = in_flight < limit;
                        prop_assert_eq!(gate.enter_or_wait(), enters);
                        if enters {
                            gate.count(Tier::CORE);
                            in_flight += 1;
                        } else {
                            waiting = true;
                        }
                    }
                    Step::Leave if in_flight > 0 => match gate.leave(Tier::CORE) {
                        Leave::Returned => {
                            prop_assert!(!waiting || in_flight > limit);
                            in_flight -= 1;
                        }
                        Leave::HandOver => {
                            prop_assert!(waiting && in_flight <= limit);
                            gate.leave_idle();
                            in_flight -= 1;
                            waiting = false;
                        }
                    },
                    Step::Leave => {}
                    Step::Limit(to) => {
                        gate.set_limit(to);
                        limit = to;
                    }
                }
                prop_assert_eq!((gate.limit(), gate.in_flight()), (limit, in_flight));
                prop_assert_eq!(gate.in_flight_of(Tier::CORE), in_flight);
            }
        }
    }
}
