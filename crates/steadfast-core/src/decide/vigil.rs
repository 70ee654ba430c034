//! A lease from the side of whoever holds it: when to renew, when to stop relying on it.
//!
//! A holder and its database never agree on when a lease is over: an answer takes time, a process may be
//! stopped for a minute and go on where it was. So the holder counts by itself, on its own monotonic clock
//! (the one that goes on while the host sleeps: `clock::lease_nanos`, with the feature `lease-clock`),
//! from *before* it asked, and stops a margin before the end: always earlier than the database.
//!
//! # Examples
//! ```
//! # use steadfast_core as steadfast;
//! use steadfast::decide::vigil::{Step, Timing, Vigil};
//!
//! let timing = Timing { renew: 10, lease: 30, margin: 3, retry: 2 };
//! let mut vigil = Vigil::new(timing, 0);
//! assert_eq!(vigil.next(0), Step::Take);
//!
//! vigil.granted(0);                               // asked at 0; the answer may have come much later
//! assert_eq!(vigil.next(5), Step::Wait(10));
//! assert_eq!(vigil.next(10), Step::Renew);
//! assert_eq!(vigil.next(27), Step::Fence);        // the database takes it for over at 30 or later
//! ```

/// The times of a lease, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// From the start of one renewal to the start of the next.
    pub renew: u64,
    /// How long the database takes the lease for held after a renewal.
    pub lease: u64,
    /// How much earlier than that the holder stops by itself.
    pub margin: u64,
    /// How long to wait after a renewal that failed.
    pub retry: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this time.
    Wait(u64),
    /// Renew the lease.
    Renew,
    /// Take one: there is none, or it is over.
    Take,
    /// The lease may be over: everything that relies on it stops, and then is done anew.
    Fence,
}

/// What a holder knows of its lease.
#[derive(Debug)]
pub struct Vigil {
    timing: Timing,
    /// Until when it may be relied on; `None` without one.
    fence_at: Option<u64>,
    next_at: u64,
}

impl Vigil {
    /// Begins without a lease.
    pub fn new(timing: Timing, now: u64) -> Self {
        Self {
            timing,
            fence_at: None,
            next_at: now,
        }
    }

    /// Says what to do now.
    pub fn next(&self, now: u64) -> Step {
        match self.fence_at {
            Some(fence_at) if now >= fence_at => Step::Fence,
            Some(_) if now >= self.next_at => Step::Renew,
            Some(fence_at) => Step::Wait(self.next_at.min(fence_at)),
            None if now >= self.next_at => Step::Take,
            None => Step::Wait(self.next_at),
        }
    }

    /// Until when the lease can be relied on.
    pub fn fence_at(&self) -> Option<u64> {
        self.fence_at
    }

    /// When the database is asked next.
    pub fn next_at(&self) -> u64 {
        self.next_at
    }

    /// The database granted or renewed the lease. Counted from before it was asked: its own count
    /// began later, so this one ends earlier.
    pub fn granted(&mut self, asked_at: u64) {
        let reliable = self.timing.lease.saturating_sub(self.timing.margin);
        self.fence_at = Some(asked_at.saturating_add(reliable));
        self.next_at = asked_at.saturating_add(self.timing.renew);
    }

    /// The database says that the lease is over, or everything was stopped because it may be.
    pub fn lost(&mut self, now: u64) {
        self.fence_at = None;
        self.next_at = now;
    }

    /// The database could not be asked. `random` spreads the next attempts of holders that lost it at
    /// the same moment.
    pub fn failed(&mut self, now: u64, random: u64) {
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
        renew: 10,
        lease: 30,
        margin: 3,
        retry: 2,
    };

    #[test]
    fn a_holder_takes_renews_and_stops_before_its_lease_is_over() {
        let mut vigil = Vigil::new(TIMING, 100);
        assert_eq!(vigil.next(100), Step::Take);

        vigil.granted(100);
        assert_eq!(vigil.next(109), Step::Wait(110));
        assert_eq!(vigil.next(110), Step::Renew);

        for now in 111..126 {
            vigil.failed(now, 0);
        }
        assert_eq!(vigil.next(126), Step::Renew);
        assert_eq!(vigil.next(127), Step::Fence);

        vigil.lost(127);
        assert_eq!(vigil.next(127), Step::Take);
    }

    #[test]
    fn a_lease_that_was_rejected_is_not_renewed() {
        let mut vigil = Vigil::new(TIMING, 0);
        vigil.granted(0);

        vigil.lost(10);

        assert_eq!(vigil.next(10), Step::Take);
        assert_eq!(vigil.fence_at(), None);
    }

    proptest! {
        /// The database counts from when it executes a renewal, which is never before it was asked.
        #[test]
        fn nothing_relies_on_a_lease_that_the_database_holds_to_be_over(
            renewals in proptest::collection::vec((0_u64..20, 0_u64..40, any::<bool>()), 1..50)
        ) {
            let mut vigil = Vigil::new(TIMING, 0);
            let (mut now, mut until) = (0, 0);
            for (pause, delay, answered) in renewals {
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
