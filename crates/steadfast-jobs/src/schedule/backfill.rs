//! Filling in: jobs for occurrences that have none.

use std::collections::HashSet;

use steadfast_core::Timestamp;
use steadfast_store::{Rows, binds};

use super::Schedules;
use super::rule::{Kind, instant};
use super::schedules::at_once;
use super::stored::Stored;
use crate::error::{Refusal, Repr};
use crate::{Error, sql};

/// The most occurrences that one call looks at: 1,000. What is more is said, and left to the next call.
pub const BACKFILL_MAX: usize = 1_000;

/// What filling in has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backfilled {
    /// Jobs that were made.
    pub made: usize,
    /// Occurrences that had a job already.
    pub had: usize,
    /// From where to go on, if there was more.
    pub rest: Option<Timestamp>,
}

/// Occurrences that have no job, and would be filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// How many there are.
    pub count: usize,
    /// How many others have one.
    pub had: usize,
    /// The nominal time of the first.
    pub first: Option<Timestamp>,
    /// The nominal time of the last.
    pub last: Option<Timestamp>,
    /// From where to go on, if there is more.
    pub rest: Option<Timestamp>,
}

impl Schedules {
    /// Makes the jobs of the occurrences from `from` up to, and without, `to` that have none: after a pause, for a
    /// new schedule that should have run before. They may overlap; what lies in the future is left to its time. At most
    /// `most` are made, and at most [`BACKFILL_MAX`] looked at.
    ///
    /// # Errors
    /// When there is no such schedule, it has no due times (a fixed delay), `to` is not after `from`, or the store
    /// refuses.
    ///
    /// # Cancel safety
    /// Dropped half-way, all of one call may have been made or none.
    pub async fn backfill(
        &self,
        name: &str,
        from: Timestamp,
        to: Timestamp,
        most: usize,
    ) -> Result<Backfilled, Error> {
        let mut tx = self.jobs.store().begin().await?;
        let stored = self.take(&mut tx, name).await?;
        let times = Times::of(&stored, from, to)?;
        // Nobody else makes any of them: the row of the schedule is taken.
        let rows = tx
            .run(&sql::SCHEDULE_HAS, binds![name, times.micros()])
            .await?;
        let gaps = times.without(&rows, most)?;
        let now_ms = stored.now_ms();
        let due: Vec<_> = gaps.ms.iter().map(|ms| at_once(*ms, now_ms)).collect();
        let made = self
            .make(&mut tx, &stored.schedule, &due, false, now_ms)
            .await?;
        tx.commit().await?;
        Ok(Backfilled {
            made: made.len(),
            had: gaps.had,
            rest: gaps.rest.map(Timestamp::from_unix_millis),
        })
    }

    /// Tells what [`backfill`](Self::backfill) would do, and changes nothing.
    ///
    /// # Errors
    /// As [`backfill`](Self::backfill).
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn missing(
        &self,
        name: &str,
        from: Timestamp,
        to: Timestamp,
        most: usize,
    ) -> Result<Missing, Error> {
        let store = self.jobs.store();
        let rows = store.ask(&sql::SCHEDULE_FIND, binds![name]).await?;
        let stored = rows.first().map(Stored::read).transpose()?;
        let is = stored.as_ref().map_or(0, |stored| stored.changed);
        self.expects(name, is.unsigned_abs())?;
        let stored = stored.ok_or_else(|| Repr::NoSchedule(name.to_owned()))?;
        let times = Times::of(&stored, from, to)?;
        let rows = store
            .ask(&sql::SCHEDULE_HAS, binds![name, times.micros()])
            .await?;
        let gaps = times.without(&rows, most)?;
        let timestamp = |ms: &i64| Timestamp::from_unix_millis(*ms);
        Ok(Missing {
            count: gaps.ms.len(),
            had: gaps.had,
            first: gaps.ms.first().map(timestamp),
            last: gaps.ms.last().map(timestamp),
            rest: gaps.rest.as_ref().map(timestamp),
        })
    }
}

/// Nominal times within a range, and where there are more.
struct Times {
    ms: Vec<i64>,
    rest: Option<i64>,
}

/// Those of them without a job.
struct Gaps {
    ms: Vec<i64>,
    /// How many before `rest` have one.
    had: usize,
    rest: Option<i64>,
}

impl Times {
    fn of(stored: &Stored, from: Timestamp, to: Timestamp) -> Result<Self, Error> {
        let (from_ms, to_ms) = (from.unix_millis(), to.unix_millis());
        if from_ms >= to_ms {
            return Err(Refusal::Backwards {
                from: instant(from_ms).to_string(),
                to: instant(to_ms).to_string(),
            }
            .into());
        }
        let plan = stored.schedule.plan();
        if let Kind::Delay { .. } = plan.rule().0 {
            return Err(Refusal::NoTimes.into());
        }
        // What is due and not decided yet stays for its decision.
        let open = stored.next_us.map_or(i64::MAX, |us| us.div_euclid(1_000));
        let end_ms = to_ms.min(stored.now_ms()).min(open);
        let next = |after: i64| {
            plan.rule()
                .next(after, plan.zone())
                .filter(|next| *next < end_ms)
        };
        let mut ms = Vec::new();
        let mut at = next(from_ms.saturating_sub(1));
        while let Some(nominal) = at.filter(|_| ms.len() < BACKFILL_MAX) {
            ms.push(nominal);
            at = next(nominal);
        }
        Ok(Self { ms, rest: at })
    }

    fn micros(&self) -> Vec<i64> {
        self.ms.iter().map(|ms| ms.saturating_mul(1_000)).collect()
    }

    /// Gives the first `most` of them that the rows do not name.
    fn without(self, rows: &Rows, most: usize) -> Result<Gaps, Error> {
        let had: Result<HashSet<i64>, _> = rows.iter().map(|row| row.get(0)).collect();
        let had = had?;
        let (has, mut ms): (Vec<i64>, Vec<i64>) = self
            .ms
            .into_iter()
            .partition(|ms| had.contains(&ms.saturating_mul(1_000)));
        let rest = ms.get(most).copied().or(self.rest);
        ms.truncate(most);
        let is_before = |at: &&i64| rest.is_none_or(|rest| **at < rest);
        Ok(Gaps {
            had: has.iter().filter(is_before).count(),
            ms,
            rest,
        })
    }
}
