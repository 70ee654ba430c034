//! When to beat, when to give up: the decision, without a clock.

/// The times of a node, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// From the start of one beat to the start of the next.
    pub(super) beat: u64,
    /// How long the database holds a life to be alive after a beat.
    pub(super) lease: u64,
    /// How much earlier than that the process stops by itself.
    pub(super) margin: u64,
    /// How long to wait after a beat that failed.
    pub(super) retry: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing before this time.
    Wait(u64),
    /// Renew the lease.
    Beat,
    /// Register: there is no life, or it is over.
    Join,
    /// The lease may be over: everything that relies on it stops, and then is done anew.
    Fence,
}

/// What is known of the lease.
#[derive(Debug)]
pub(super) struct Vigil {
    timing: Timing,
    /// Until when this life may rely on its lease; `None` without one.
    fence_at: Option<u64>,
    next_at: u64,
}

impl Vigil {
    /// Begins without a lease.
    pub(super) fn new(timing: Timing, now: u64) -> Self {
        Self {
            timing,
            fence_at: None,
            next_at: now,
        }
    }

    pub(super) fn next(&self, now: u64) -> Step {
        match self.fence_at {
            Some(fence_at) if now >= fence_at => Step::Fence,
            Some(_) if now >= self.next_at => Step::Beat,
            Some(fence_at) => Step::Wait(self.next_at.min(fence_at)),
            None if now >= self.next_at => Step::Join,
            None => Step::Wait(self.next_at),
        }
    }

    /// Until when the lease can be relied on.
    pub(super) fn fence_at(&self) -> Option<u64> {
        self.fence_at
    }

    /// The database granted or renewed the lease. Counted from before it was asked: its own count
    /// began later, so this one ends earlier.
    pub(super) fn granted(&mut self, asked_at: u64) {
        let reliable = self.timing.lease.saturating_sub(self.timing.margin);
        self.fence_at = Some(asked_at.saturating_add(reliable));
        self.next_at = asked_at.saturating_add(self.timing.beat);
    }

    /// The database says that the lease is over, or everything was stopped because it may be.
    pub(super) fn lost(&mut self, now: u64) {
        self.fence_at = None;
        self.next_at = now;
    }

    /// The database could not be asked. `random` spreads the next attempts of nodes that lost it at
    /// the same moment.
    pub(super) fn failed(&mut self, now: u64, random: u64) {
        let half = self.timing.retry / 2;
        let jitter = random % half.max(1);
        self.next_at = now.saturating_add(half).saturating_add(jitter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIMING: Timing = Timing {
        beat: 10,
        lease: 30,
        margin: 3,
        retry: 2,
    };

    #[test]
    fn a_life_joins_beats_and_stops_before_its_lease_is_over() {
        let mut vigil = Vigil::new(TIMING, 100);
        assert_eq!(vigil.next(100), Step::Join);

        vigil.granted(100);
        assert_eq!(vigil.next(109), Step::Wait(110));
        assert_eq!(vigil.next(110), Step::Beat);

        for now in 111..126 {
            vigil.failed(now, 0);
        }
        assert_eq!(vigil.next(126), Step::Beat);
        assert_eq!(vigil.next(127), Step::Fence);

        vigil.lost(127);
        assert_eq!(vigil.next(127), Step::Join);
    }

    #[test]
    fn a_lease_that_was_rejected_is_not_beaten_for() {
        let mut vigil = Vigil::new(TIMING, 0);
        vigil.granted(0);

        vigil.lost(10);

        assert_eq!(vigil.next(10), Step::Join);
        assert_eq!(vigil.fence_at(), None);
    }

    proptest! {
        /// The database counts from when it executes a beat, which is never before it was asked.
        #[test]
        fn nothing_relies_on_a_lease_that_the_database_holds_to_be_over(
            beats in proptest::collection::vec((0_u64..20, 0_u64..40, any::<bool>()), 1..50)
        ) {
            let mut vigil = Vigil::new(TIMING, 0);
            let (mut now, mut until) = (0, 0);
            for (pause, delay, answered) in beats {
                now += pause;
                let asked_at = now;
                now += delay;
                // Executed at its latest possible moment, or not at all.
                if answered {
                    if vigil.fence_at().is_none() || asked_at + delay <= until {
                        until = asked_at + TIMING.lease;
                        vigil.granted(asked_at);
                    } else {
                        vigil.lost(now);
                    }
                } else {
                    vigil.failed(now, 7);
                }
                if vigil.next(now) == Step::Fence {
                    vigil.lost(now);
                }
                prop_assert!(vigil.fence_at().is_none_or(|at| at < until));
            }
        }
    }
}
