//! When something that should have happened has not, and how often to say so.
//!
//! Two small judgements that every watcher needs and that are easily made wrong. A silence is
//! measured against the interval that the work itself declared, because nobody else knows how
//! long a step may take. And a thing that stays late is told again, but ever more rarely: once is
//! overlooked, every tick is noise, so each report comes at twice the age of the one before.

use std::time::Duration;

/// Judges whether work that promised a sign of progress in every interval is stuck.
///
/// It is stuck after [`Silence::INTERVALS`] intervals without a new sign, counted from the look
/// that saw the last one. So the answer may come late by the time between two looks, and never
/// early.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use std::time::Duration;
/// use steadfast::decide::lateness::{Change, Silence};
///
/// const SECOND: u64 = 1_000_000_000;
/// let mut import = Silence::new(Duration::from_secs(1), 0)?;
///
/// assert_eq!(import.look(3 * SECOND, 0), None);
/// assert_eq!(import.look(4 * SECOND, 0), Some(Change::Stuck { silent_ns: 4 * SECOND }));
/// assert_eq!(import.look(5 * SECOND, 1), Some(Change::Resumed { silent_ns: 5 * SECOND }));
/// # Ok::<(), steadfast_core::decide::lateness::InvalidInterval>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    limit_ns: u64,
    /// How many signs the last look saw.
    signs: u64,
    /// The look that saw the last new sign.
    since: u64,
    stuck: bool,
}

/// What a look at a [`Silence`] found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// There was no sign for this long: more than three intervals.
    Stuck {
        /// How long, in nanoseconds.
        silent_ns: u64,
    },
    /// There is a sign again, after this long.
    Resumed {
        /// How long, in nanoseconds.
        silent_ns: u64,
    },
}

/// Refuses an interval that is zero or over [`Silence::INTERVAL_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interval {0:?} is not between 1 ns and {max:?}", max = Silence::INTERVAL_MAX)]
pub struct InvalidInterval(Duration);

/// Judges whether something that lasts is to be reported now: when it lasts longer than a limit,
/// and then each time that its age has doubled since.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use std::time::Duration;
/// use steadfast::decide::lateness::Overdue;
///
/// let mut wait = Overdue::new(Duration::from_nanos(10));
/// let told: Vec<u64> = (0..100).filter(|age| wait.is_due(*age)).collect();
/// assert_eq!(told, [11, 22, 44, 88]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    limit_ns: u64,
    /// The age of the last report.
    told_at: Option<u64>,
}

// === impl Silence ===

impl Silence {
    /// How many silent intervals make a thing stuck: 3, so that one missed sign and one late one
    /// are not enough.
    pub const INTERVALS: u32 = 3;

    /// The longest interval: 365 days, far below where nanoseconds overflow.
    pub const INTERVAL_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    /// Starts to judge at `now`, with no sign seen.
    ///
    /// # Errors
    ///
    /// [`InvalidInterval`] if `interval` is zero or over [`INTERVAL_MAX`](Self::INTERVAL_MAX).
    pub fn new(interval: Duration, now: u64) -> Result<Self, InvalidInterval> {
        if interval.is_zero() || interval > Self::INTERVAL_MAX {
            return Err(InvalidInterval(interval));
        }
        Ok(Self {
            limit_ns: nanos(interval * Self::INTERVALS),
            signs: 0,
            since: now,
            stuck: false,
        })
    }

    /// Looks at how many signs there have been so far, and says what has changed since the last
    /// look.
    pub fn look(&mut self, now: u64, signs: u64) -> Option<Change> {
        let silent_ns = now.saturating_sub(self.since);
        if signs != self.signs {
            self.signs = signs;
            self.since = now;
            let resumed = std::mem::take(&mut self.stuck);
            return resumed.then_some(Change::Resumed { silent_ns });
        }
        if self.stuck || silent_ns <= self.limit_ns {
            return None;
        }
        self.stuck = true;
        Some(Change::Stuck { silent_ns })
    }

    /// Tells whether the last look found it stuck.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.stuck
    }
}

// === impl Overdue ===

impl Overdue {
    /// Starts with nothing told; `limit` itself is not over the limit.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self {
            limit_ns: nanos(limit),
            told_at: None,
        }
    }

    /// Says whether to report at this age, in nanoseconds; the answer "yes" is taken as reported.
    #[must_use = "the answer is whether to report"]
    pub fn is_due(&mut self, age_ns: u64) -> bool {
        let due = match self.told_at {
            None => age_ns > self.limit_ns,
            Some(told) => age_ns >= told.saturating_mul(2) && age_ns > told,
        };
        if due {
            self.told_at = Some(age_ns);
        }
        due
    }

    /// Tells whether it was ever reported.
    #[must_use]
    pub fn was_told(&self) -> bool {
        self.told_at.is_some()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One look, some time after the one before; a sign may have come between the two.
    fn looks() -> impl Strategy<Value = Vec<(u64, bool)>> {
        prop::collection::vec((0..40u64, any::<bool>()), 1..60)
    }

    proptest! {
        #[test]
        fn it_is_stuck_exactly_after_three_silent_intervals(interval in 1..20u64, looks in looks()) {
            let mut silence = Silence::new(Duration::from_nanos(interval), 0).unwrap();
            let (mut now, mut signs, mut last_seen) = (0, 0, 0);

            for (step, sign) in looks {
                now += step;
                signs += u64::from(sign);
                let was_stuck = silence.is_stuck();
                let change = silence.look(now, signs);

                let silent_ns = now - last_seen;
                if sign {
                    last_seen = now;
                }
                let stuck = now - last_seen > 3 * interval;
                prop_assert_eq!(silence.is_stuck(), stuck);
                prop_assert_eq!(change, match (was_stuck, stuck) {
                    (false, true) => Some(Change::Stuck { silent_ns }),
                    (true, false) => Some(Change::Resumed { silent_ns }),
                    _ => None,
                });
            }
        }

        #[test]
        fn reports_of_one_thing_are_few_and_each_at_least_twice_as_old(
            limit in 0..50u64,
            steps in prop::collection::vec(0..1_000u64, 1..200),
        ) {
            let mut overdue = Overdue::new(Duration::from_nanos(limit));
            let mut age = 0;
            let mut told = Vec::new();

            for step in steps {
                age += step;
                if overdue.is_due(age) {
                    told.push(age);
                }
            }

            prop_assert_eq!(overdue.was_told(), age > limit);
            prop_assert!(told.iter().all(|age| *age > limit));
            prop_assert!(told.windows(2).all(|pair| pair[1] >= 2 * pair[0]));
            prop_assert!(told.last().is_none_or(|last| age < 2 * last || age == *last));
        }
    }

    #[test]
    fn intervals_out_of_range_are_refused_with_the_bound() {
        for interval in [
            Duration::ZERO,
            Silence::INTERVAL_MAX + Duration::from_nanos(1),
        ] {
            let refused = Silence::new(interval, 0).unwrap_err().to_string();

            assert!(refused.contains("between 1 ns and"), "{refused}");
        }
        assert!(Silence::new(Silence::INTERVAL_MAX, u64::MAX).is_ok());
    }

    #[test]
    fn a_clock_that_steps_back_makes_nothing_late() {
        let mut silence = Silence::new(Duration::from_nanos(1), 100).unwrap();

        assert_eq!(silence.look(50, 0), None);
    }
}
