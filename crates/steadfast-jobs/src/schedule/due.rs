//! What is due now: the one decision behind every schedule.
//!
//! Pure: the plan, where the schedule stands, and the time of the database go in; which occurrences become
//! jobs, which are left out and why, and when to look again come out. Any node may ask, and all get the
//! same answer; the store makes sure that one of them acts on it.

use std::time::Duration;

use super::plan::{Missed, Overlap, Plan};
use super::rule::Kind;

/// How long after its due time an occurrence is in time, if the next is not due before: a minute.
///
/// Longer than the restart of all nodes takes, and than the database's failover; short enough that people
/// still call it on time.
pub const ON_TIME: Duration = Duration::from_secs(60);

/// The most occurrences that one decision turns into jobs: 100. The rest is decided right after, in the next
/// transaction, so that no transaction grows with the length of an outage.
pub const FIRED_MAX: usize = 100;

/// The most occurrences that are counted one by one when they are left out: 10,000. A schedule of every
/// second that was away for a week is told as "10,000 and more".
pub const COUNTED_MAX: u32 = 10_000;

/// Where a schedule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The due time that is looked for, in milliseconds since 1970.
    pub next_ms: i64,
    /// Its jobs that have not ended: waiting ones, running ones.
    pub live: u32,
    /// When the last of its jobs ended, if one did.
    pub ended_ms: Option<i64>,
}

/// What is to be done, in one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Decision {
    /// The occurrences that become jobs, earliest first; at most [`FIRED_MAX`].
    pub due: Vec<Due>,
    /// The occurrences that do not.
    pub skipped: Vec<Skipped>,
    /// When to look again, in milliseconds since 1970; a time that has passed if there was more to do than
    /// fits one decision, and `None` if nothing is due any more.
    pub next_ms: Option<i64>,
}

/// An occurrence that becomes a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its due time by the rule, which names it: at most one job per schedule and nominal time.
    pub nominal_ms: i64,
    /// When its job may start: later by the jitter.
    pub start_ms: i64,
    /// Until when its job may start, if the plan has a deadline.
    pub start_until_ms: Option<i64>,
    /// Whether the other jobs of the schedule are to be cancelled.
    pub cancels_others: bool,
}

/// Occurrences in a row that do not become jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The first of them.
    pub first_ms: i64,
    /// The last of them.
    pub last_ms: i64,
    /// How many there are; if it is [`COUNTED_MAX`], that many and maybe more.
    pub count: u32,
    /// Why.
    pub reason: SkipReason,
}

/// Why an occurrence does not become a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// No node saw it in time, and the plan does not catch it up.
    Missed,
    /// Its job could not have started by the deadline.
    Deadline,
    /// An earlier run has not ended.
    Overlap,
}

impl SkipReason {
    /// Gives its name, as it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Deadline => "deadline",
            Self::Overlap => "overlap",
        }
    }
}

impl Plan {
    /// Gives the first due time of a schedule that is registered, edited or resumed at `now_ms`, after
    /// everything up to `decided_ms`, its last decided due time, was decided.
    ///
    /// A date that has passed is given all the same if nothing was decided yet: whether to catch it up is for
    /// [`Missed`] to say.
    #[must_use]
    pub fn first_ms(&self, now_ms: i64, decided_ms: Option<i64>) -> Option<i64> {
        let after = decided_ms.map_or(now_ms, |decided| decided.max(now_ms));
        match &self.rule.0 {
            Kind::Delay { .. } => Some(now_ms),
            Kind::Once(once) => once
                .at(&self.zone)
                .filter(|at| decided_ms.is_none() || *at > after),
            _ => self.rule.next(after, &self.zone),
        }
    }

    /// Decides what is due at `now_ms`, the time of the database.
    ///
    /// `seed` stands for the schedule and spreads its jitter apart from that of others.
    #[must_use]
    pub fn decide(&self, seed: u64, standing: Standing, now_ms: i64) -> Decision {
        if standing.next_ms > now_ms {
            return Decision {
                next_ms: Some(standing.next_ms),
                ..Decision::default()
            };
        }
        if let Kind::Delay { delay_ms } = self.rule.0 {
            return self.decide_delay(seed, delay_ms, standing, now_ms);
        }
        let range = self.candidates(standing.next_ms, now_ms);
        let mut decision = Decision {
            next_ms: range.next_ms,
            ..Decision::default()
        };
        if let Some(last_ms) = range.skipped_up_to {
            decision.skipped.push(Skipped {
                first_ms: standing.next_ms,
                last_ms,
                count: self.count(standing.next_ms, last_ms),
                reason: SkipReason::Missed,
            });
        }
        let mut live = standing.live;
        for nominal_ms in range.run {
            match self.judge(seed, nominal_ms, live, now_ms) {
                Ok(due) => {
                    live = live.saturating_add(1);
                    decision.due.push(due);
                }
                Err(reason) => decision.skip(nominal_ms, reason),
            }
        }
        decision
    }

    /// Looks whether the run before has ended long enough ago. While it has not, the next look is a delay
    /// away, which is never too late: a run that ends between two looks is due after the second.
    fn decide_delay(&self, seed: u64, delay_ms: i64, standing: Standing, now_ms: i64) -> Decision {
        let next_look = now_ms.saturating_add(delay_ms);
        let nominal_ms = match standing.ended_ms {
            _ if standing.live > 0 => None,
            Some(ended) => Some(ended.saturating_add(delay_ms).max(standing.next_ms)),
            None => Some(standing.next_ms),
        };
        match nominal_ms {
            Some(nominal_ms) if nominal_ms <= now_ms => Decision {
                due: vec![self.due(seed, nominal_ms, false)],
                skipped: Vec::new(),
                next_ms: Some(next_look),
            },
            later => Decision {
                next_ms: Some(later.unwrap_or(next_look)),
                ..Decision::default()
            },
        }
    }

    /// Divides what is due: first those that are left out because they were missed, then those to run,
    /// then what is left for the next decision.
    fn candidates(&self, first_ms: i64, now_ms: i64) -> Candidates {
        let last_ms = self
            .rule
            .last(first_ms, now_ms, &self.zone)
            .unwrap_or(first_ms);
        let following = self.rule.next(last_ms, &self.zone);
        // By the test of `last` the following one is not due yet, so only the last can be in time.
        let in_time = now_ms.saturating_sub(last_ms) <= ms(ON_TIME);
        let run_from = match self.missed {
            Missed::Skip if !in_time => {
                return Candidates {
                    skipped_up_to: Some(last_ms),
                    run: Vec::new(),
                    next_ms: following,
                };
            }
            Missed::Skip | Missed::RunOnce => last_ms,
            Missed::RunAll(window) => {
                let oldest = now_ms.saturating_sub(ms(window));
                if first_ms >= oldest {
                    first_ms
                } else {
                    // The last is in time even if the window is shorter than a minute.
                    match self.rule.next(oldest - 1, &self.zone) {
                        Some(from) if from <= last_ms => from,
                        _ if in_time => last_ms,
                        _ => {
                            return Candidates {
                                skipped_up_to: Some(last_ms),
                                run: Vec::new(),
                                next_ms: following,
                            };
                        }
                    }
                }
            }
        };
        let mut run = vec![run_from];
        let mut next_ms = self.rule.next(run_from, &self.zone);
        while let Some(next) = next_ms.filter(|next| *next <= last_ms && run.len() < FIRED_MAX) {
            run.push(next);
            next_ms = self.rule.next(next, &self.zone);
        }
        let skipped_up_to = if run_from > first_ms {
            // Of those between, the last one; at least the first is before `run_from`.
            let between = self.rule.last(first_ms, run_from - 1, &self.zone);
            Some(between.unwrap_or(first_ms))
        } else {
            None
        };
        Candidates {
            skipped_up_to,
            run,
            next_ms,
        }
    }

    fn judge(&self, seed: u64, nominal_ms: i64, live: u32, now_ms: i64) -> Result<Due, SkipReason> {
        let due = self.due(
            seed,
            nominal_ms,
            self.overlap == Overlap::CancelOther && live > 0,
        );
        if due.start_until_ms.is_some_and(|until| until < now_ms) {
            return Err(SkipReason::Deadline);
        }
        let room = match self.overlap {
            Overlap::Allow | Overlap::CancelOther => true,
            Overlap::Skip => live == 0,
            // One under way and one behind it.
            Overlap::QueueOne => live < 2,
        };
        if room {
            Ok(due)
        } else {
            Err(SkipReason::Overlap)
        }
    }

    fn due(&self, seed: u64, nominal_ms: i64, cancels_others: bool) -> Due {
        let start_ms = nominal_ms.saturating_add(jitter(seed, nominal_ms, ms(self.jitter)));
        Due {
            nominal_ms,
            start_ms,
            start_until_ms: self
                .start_deadline
                .map(|deadline| start_ms.saturating_add(ms(deadline))),
            cancels_others,
        }
    }

    /// Counts occurrences from `first_ms`, which is one, to `last_ms`, up to [`COUNTED_MAX`].
    fn count(&self, first_ms: i64, last_ms: i64) -> u32 {
        let mut count = 1;
        let mut at = first_ms;
        while count < COUNTED_MAX {
            match self.rule.next(at, &self.zone) {
                Some(next) if next <= last_ms => at = next,
                _ => break,
            }
            count += 1;
        }
        count
    }
}

struct Candidates {
    skipped_up_to: Option<i64>,
    run: Vec<i64>,
    next_ms: Option<i64>,
}

// === impl Decision ===

impl Decision {
    fn skip(&mut self, nominal_ms: i64, reason: SkipReason) {
        let last_due = self.due.last().map_or(i64::MIN, |due| due.nominal_ms);
        match self.skipped.last_mut() {
            Some(last) if last.reason == reason && last.last_ms > last_due => {
                last.last_ms = nominal_ms;
                last.count += 1;
            }
            _ => self.skipped.push(Skipped {
                first_ms: nominal_ms,
                last_ms: nominal_ms,
                count: 1,
                reason,
            }),
        }
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Gives a delay from zero to `most_ms`, the same for the same schedule and occurrence.
fn jitter(seed: u64, nominal_ms: i64, most_ms: i64) -> i64 {
    // The mixer of SplitMix64: every bit of the input moves every bit of the result.
    let mut mixed = seed ^ (nominal_ms as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    ((u128::from(mixed) * (most_ms as u128 + 1)) >> 64) as i64
}

#[cfg(test)]
mod tests;
