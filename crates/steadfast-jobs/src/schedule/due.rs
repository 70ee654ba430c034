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
    /// The due time that is looked for, in milliseconds since 1970; `None` if there is none any more.
    pub next_ms: Option<i64>,
    /// The occurrence that waits for a run to end, if one does.
    pub queued_ms: Option<i64>,
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
    /// The next due time, in milliseconds since 1970; one that has passed if there was more to do than
    /// fits one decision, and `None` if nothing is due any more.
    pub next_ms: Option<i64>,
    /// The occurrence that waits for a run to end, if one does.
    pub queued_ms: Option<i64>,
    /// Whether the jobs that have not ended are to be cancelled.
    pub cancels_live: bool,
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
    /// An earlier run has not ended, or a later occurrence takes its place.
    Overlap,
    /// The schedule was paused.
    Paused,
}

impl SkipReason {
    /// Gives its name, as it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Deadline => "deadline",
            Self::Overlap => "overlap",
            Self::Paused => "paused",
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
        let mut decision = Decision {
            next_ms: standing.next_ms,
            queued_ms: standing.queued_ms,
            ..Decision::default()
        };
        let due_ms = standing.next_ms.filter(|next| *next <= now_ms);
        if let Kind::Delay { delay_ms } = self.rule.0 {
            if let Some(look_ms) = due_ms {
                self.decide_delay(seed, delay_ms, (look_ms, now_ms), standing, &mut decision);
            }
            return decision;
        }
        let mut run = Vec::new();
        if let Some(first_ms) = due_ms {
            let candidates = self.candidates(first_ms, now_ms);
            decision.next_ms = candidates.next_ms;
            run = candidates.run;
            if let Some(last_ms) = candidates.skipped_up_to {
                decision.skipped.push(Skipped {
                    first_ms,
                    last_ms,
                    count: self.count(first_ms, last_ms),
                    reason: SkipReason::Missed,
                });
            }
        }
        let mut live = standing.live;
        if let Some(queued_ms) = standing.queued_ms {
            if self.overlap == Overlap::CancelOther && !run.is_empty() {
                decision.queued_ms = None;
                decision.skip(queued_ms, SkipReason::Overlap);
            } else if live == 0 {
                decision.queued_ms = None;
                self.judge(seed, queued_ms, &mut live, now_ms, &mut decision);
            }
        }
        for nominal_ms in run {
            self.judge(seed, nominal_ms, &mut live, now_ms, &mut decision);
        }
        decision
    }

    /// Looks whether the run before has ended long enough ago. While it has not, the next look is a delay
    /// away, which is never too late: a run that ends between two looks is due after the second.
    fn decide_delay(
        &self,
        seed: u64,
        delay_ms: i64,
        (look_ms, now_ms): (i64, i64),
        standing: Standing,
        decision: &mut Decision,
    ) {
        let next_look = now_ms.saturating_add(delay_ms);
        let nominal_ms = match standing.ended_ms {
            _ if standing.live > 0 => None,
            Some(ended) => Some(ended.saturating_add(delay_ms).max(look_ms)),
            None => Some(look_ms),
        };
        decision.next_ms = match nominal_ms {
            Some(nominal_ms) if nominal_ms > now_ms => Some(nominal_ms),
            _ => Some(next_look),
        };
        if let Some(nominal_ms) = nominal_ms.filter(|nominal| *nominal <= now_ms) {
            decision.due.push(self.due(seed, nominal_ms));
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

    /// Has one occurrence run, wait or left out, beside `live` jobs that have not ended.
    fn judge(
        &self,
        seed: u64,
        nominal_ms: i64,
        live: &mut u32,
        now_ms: i64,
        decision: &mut Decision,
    ) {
        let due = self.due(seed, nominal_ms);
        if due.start_until_ms.is_some_and(|until| until < now_ms) {
            decision.skip(nominal_ms, SkipReason::Deadline);
            return;
        }
        match self.overlap {
            // Whatever waits already comes first.
            Overlap::QueueOne | Overlap::Skip if decision.queued_ms.is_some() => {
                decision.skip(nominal_ms, SkipReason::Overlap);
            }
            _ if self.overlap == Overlap::Allow || *live == 0 => {
                *live = live.saturating_add(1);
                decision.due.push(due);
            }
            Overlap::QueueOne => decision.queued_ms = Some(nominal_ms),
            Overlap::CancelOther => {
                decision.queued_ms = Some(nominal_ms);
                decision.cancels_live = true;
            }
            Overlap::Skip | Overlap::Allow => decision.skip(nominal_ms, SkipReason::Overlap),
        }
    }

    fn due(&self, seed: u64, nominal_ms: i64) -> Due {
        let start_ms = nominal_ms.saturating_add(jitter(seed, nominal_ms, ms(self.jitter)));
        Due {
            nominal_ms,
            start_ms,
            start_until_ms: self
                .start_deadline
                .map(|deadline| start_ms.saturating_add(ms(deadline))),
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
    /// How often a run that something waits for is looked at: every second.
    const QUEUED_LOOK_MS: i64 = 1_000;

    /// Tells when to look again: when something is due, or whether what it waits for has ended.
    #[must_use]
    pub fn look_ms(&self, now_ms: i64) -> Option<i64> {
        let queued = self
            .queued_ms
            .map(|_| now_ms.saturating_add(Self::QUEUED_LOOK_MS));
        [self.next_ms, queued].into_iter().flatten().min()
    }

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
