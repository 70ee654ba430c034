//! What the timeout in force means for one call, and what one call means for the timeout.

use std::time::Duration;

use crate::decide::sketch::Sketch;

/// Holds the timeout in force: a small copy that calls read while the next one is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutPlan {
    pub(super) usual_ns: u64,
    /// At least the usual one.
    pub(super) scout_ns: u64,
}

/// Tells how long one call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTimeout {
    given_ns: u64,
    /// What a usual call would have been given at most.
    usual_ns: u64,
}

/// Tells how a call ended, and how long after its start.
///
/// A call that failed by itself, and before its time was up, is not recorded: how long a failure
/// takes says nothing about answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The head of the response was there.
    Answered(Duration),
    /// Somebody gave up waiting: this timeout, the deadline, or the caller.
    Cut(Duration),
}

/// The tallies of the sketch.
pub(super) mod tally {
    /// Calls that were begun.
    pub(in crate::decide::timeout) const BEGUN: usize = 0;
    /// Calls that were not answered within the usual time.
    pub(in crate::decide::timeout) const CUT: usize = 1;
    /// Scouts that were answered after the usual time.
    pub(in crate::decide::timeout) const SCOUT_ANSWERED: usize = 2;
    /// Scouts that went past the usual time and were never answered.
    pub(in crate::decide::timeout) const SCOUT_CUT: usize = 3;
    /// Calls that were answered within the usual time, but not within half of it.
    pub(in crate::decide::timeout) const JUST_IN_TIME: usize = 4;
}

/// Counts a call that begins at `now`.
///
/// The sketch has windows of a second and belongs to one [`AdaptiveTimeout`](super::AdaptiveTimeout)
/// alone, whose tallies it holds.
pub fn count_call(sketch: &Sketch, now: u64) {
    sketch.tally(tally::BEGUN, now);
}

/// Records how a call ended at `now`.
pub fn record(sketch: &Sketch, timeout: CallTimeout, ended: Ended, now: u64) {
    let (after, answered) = match ended {
        Ended::Answered(after) => (after, true),
        Ended::Cut(after) => (after, false),
    };
    let after_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
    if answered && after_ns <= timeout.usual_ns {
        sketch.record(after_ns, now);
        if after_ns > timeout.usual_ns / 2 {
            sketch.tally(tally::JUST_IN_TIME, now);
        }
        return;
    }
    if after_ns > timeout.usual_ns && timeout.is_scout() {
        // Seconds have gone since it would have been cut. Counted among the calls that end now, the
        // scouts of a stall would come back together when it is over and look like its slow end.
        let scout = if answered {
            tally::SCOUT_ANSWERED
        } else {
            tally::SCOUT_CUT
        };
        sketch.tally(scout, now);
        return;
    }
    sketch.record(after_ns.min(timeout.usual_ns).saturating_mul(2), now);
    sketch.tally(tally::CUT, now);
}

// === impl TimeoutPlan ===

impl TimeoutPlan {
    /// One call in this many is a scout: few enough to hold few permits, and at a hundred calls a
    /// second six of them, which is enough to judge by.
    pub const SCOUT_EVERY: u64 = 16;

    /// A scout is given this many times as long: a service that became eight times slower is found.
    pub const SCOUT_FACTOR: u64 = 8;

    /// Returns how long the `call`-th call may take, whose deadline is `left` away.
    ///
    /// Number the calls one by one from any start; every sixteenth is a scout.
    #[must_use]
    pub fn for_call(&self, call: u64, left: Option<Duration>) -> CallTimeout {
        let left_ns = left.map_or(u64::MAX, |left| {
            u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)
        });
        let is_scout = call % Self::SCOUT_EVERY == Self::SCOUT_EVERY - 1;
        let given_ns = if is_scout {
            self.scout_ns
        } else {
            self.usual_ns
        };
        CallTimeout {
            given_ns: given_ns.min(left_ns),
            usual_ns: self.usual_ns.min(left_ns),
        }
    }

    /// Returns how long a usual call may take.
    #[must_use]
    pub fn usual(&self) -> Duration {
        Duration::from_nanos(self.usual_ns)
    }

    /// Returns how long a scout may take.
    #[must_use]
    pub fn scout(&self) -> Duration {
        Duration::from_nanos(self.scout_ns)
    }
}

// === impl CallTimeout ===

impl CallTimeout {
    /// Returns how long the call may take.
    #[must_use]
    pub fn get(&self) -> Duration {
        Duration::from_nanos(self.given_ns)
    }

    /// Says whether the call may take longer than usual, to see whether answers come late.
    #[must_use]
    pub fn is_scout(&self) -> bool {
        self.given_ns > self.usual_ns
    }
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    const PLAN: TimeoutPlan = TimeoutPlan {
        usual_ns: 100 * MS,
        scout_ns: 800 * MS,
    };

    #[test]
    fn every_sixteenth_call_is_a_scout() {
        let scouts: Vec<u64> = (0..64)
            .filter(|call| PLAN.for_call(*call, None).is_scout())
            .collect();

        assert_eq!(scouts, [15, 31, 47, 63]);
        assert_eq!(PLAN.for_call(15, None).get(), PLAN.scout());
    }

    #[test]
    fn no_call_is_given_more_than_the_time_that_is_left() {
        let given = |call, left_ms| {
            let timeout = PLAN.for_call(call, Some(Duration::from_millis(left_ms)));
            (timeout.get().as_millis(), timeout.is_scout())
        };

        assert_eq!(given(0, 1_000), (100, false));
        assert_eq!(given(0, 40), (40, false));
        assert_eq!(given(15, 300), (300, true));
        assert_eq!(given(15, 40), (40, false));
    }

    #[test]
    fn a_call_is_recorded_as_if_it_had_been_given_the_usual_time() {
        let check = |call, ended, value_ms: u64, tallies: [u64; Sketch::TALLIES]| {
            let sketch = Sketch::new(Duration::from_secs(1), 2).unwrap();
            count_call(&sketch, 0);
            record(&sketch, PLAN.for_call(call, None), ended, 0);
            let seen = sketch.last(1, 0);
            assert_eq!(seen.max_ns(), value_ms * MS, "{ended:?}");
            assert_eq!([0, 1, 2, 3, 4].map(|tally| seen.tally(tally)), tallies);
        };
        let millis = Duration::from_millis;

        check(0, Ended::Answered(millis(30)), 30, [1, 0, 0, 0, 0]);
        check(0, Ended::Answered(millis(51)), 51, [1, 0, 0, 0, 1]);
        check(0, Ended::Answered(millis(101)), 200, [1, 1, 0, 0, 0]);
        check(0, Ended::Cut(millis(100)), 200, [1, 1, 0, 0, 0]);
        check(0, Ended::Cut(millis(40)), 80, [1, 1, 0, 0, 0]);
        check(15, Ended::Answered(millis(30)), 30, [1, 0, 0, 0, 0]);
        check(15, Ended::Answered(millis(700)), 0, [1, 0, 1, 0, 0]);
        check(15, Ended::Cut(millis(800)), 0, [1, 0, 0, 1, 0]);
        check(15, Ended::Cut(millis(50)), 100, [1, 1, 0, 0, 0]);
    }
}
