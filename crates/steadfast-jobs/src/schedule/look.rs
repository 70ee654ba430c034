//! Looking at schedules: where they stand, what became of their occurrences, what is wrong.

use std::time::Duration;

use steadfast_core::Timestamp;
use steadfast_store::binds;

use super::Schedules;
use super::plan::Lengths;
use super::rule::instant;
use super::stored::{Schedule, Stored, timestamp};
use crate::{Error, JobId, sql};

/// The most rows of a page: 1,000.
pub const PAGE_MAX: usize = 1_000;

/// After how long a schedule that is due and that nobody has moved on is overdue: a minute, sixty looks of every
/// node.
pub const OVERDUE_AFTER: Duration = Duration::from_secs(60);

/// How long what became of occurrences is kept: 90 days, a quarter of a year of nightly runs.
pub const KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How many rows one statement prunes: 1,000.
const PRUNED: i64 = 1_000;

/// A schedule and where it stands.
#[derive(Clone, Debug)]
pub struct View {
    /// What it says.
    pub schedule: Schedule,
    /// Grows when it is changed, paused or resumed, and never by an occurrence. No other schedule has had it, not even
    /// one of the same name that was deleted.
    pub revision: u64,
    /// When it is due next; nothing while it is paused, or when it is over.
    pub next: Option<Timestamp>,
    /// The occurrence that waits for a run to end.
    pub queued: Option<Timestamp>,
    /// Since when it is paused, and why.
    pub paused: Option<(Timestamp, String)>,
    /// The last occurrence that was decided.
    pub decided: Option<Timestamp>,
    /// How long a run of its next job may take, and when that is late.
    pub lengths: Option<Lengths>,
    /// How long nobody has looked at it although it was due, if that is longer than [`OVERDUE_AFTER`].
    pub overdue: Option<Duration>,
}

/// A job of a schedule that has not ended three periods after its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// The job.
    pub job: JobId,
    /// Its kind.
    pub kind: String,
    /// The name of the schedule.
    pub schedule: String,
    /// The nominal time of the occurrence that it was made for.
    pub nominal: Timestamp,
    /// How long it is late.
    pub by: Duration,
}

/// What became of an occurrence, or of several in a row that became no job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The nominal time, of the first.
    pub nominal: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an occurrence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A job.
    Made {
        /// Which one.
        job: JobId,
        /// Whether somebody wanted it now.
        by_hand: bool,
        /// When it was found to have ended.
        ended: Option<Timestamp>,
    },
    /// Nothing.
    Skipped {
        /// The nominal time of the last.
        until: Timestamp,
        /// How many there were.
        count: u64,
        /// Why.
        reason: String,
    },
}

/// The occurrence that a job was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OccurrenceOf {
    /// The name of the schedule.
    pub schedule: String,
    /// The nominal time: what the work is about, however late it runs.
    pub nominal: Timestamp,
    /// Whether somebody wanted it now.
    pub by_hand: bool,
}

impl Schedules {
    /// Gives one schedule.
    ///
    /// # Errors
    /// When the store refuses, or this program cannot read it.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn find(&self, name: &str) -> Result<Option<View>, Error> {
        let rows = self
            .jobs
            .store()
            .ask(&sql::SCHEDULE_FIND, binds![name])
            .await?;
        let stored = rows.first().map(Stored::read).transpose()?;
        Ok(stored.map(View::of))
    }

    /// Gives schedules in the order of their names: those after `after` (none for the first page), at most
    /// `count` and [`PAGE_MAX`] of them. Those that this program cannot read are left out, and told as an event.
    ///
    /// # Errors
    /// When the store refuses.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn list(&self, after: &str, count: usize) -> Result<Vec<View>, Error> {
        let count = count.clamp(1, PAGE_MAX) as i64;
        let rows = self
            .jobs
            .store()
            .ask(&sql::SCHEDULE_LIST, binds![after, count])
            .await?;
        let mut views = Vec::new();
        for row in &rows {
            match Stored::read(row) {
                Ok(stored) => views.push(View::of(stored)),
                Err(error) if error.is_unreadable_schedule() => {
                    let schedule: &str = row.get(0)?;
                    tracing::warn!(target: "steadfast::schedules", schedule, %error, "a schedule cannot be read");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(views)
    }

    /// Gives what became of the occurrences of a schedule, the latest first: those before `before`, at most `count`
    /// and [`PAGE_MAX`].
    ///
    /// # Errors
    /// When the store refuses.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn history(
        &self,
        name: &str,
        before: Timestamp,
        count: usize,
    ) -> Result<Vec<Past>, Error> {
        let before_us = before.unix_millis().saturating_mul(1_000);
        let binds = binds![name, before_us, count.clamp(1, PAGE_MAX) as i64];
        let rows = self.jobs.store().ask(&sql::SCHEDULE_HISTORY, binds).await?;
        rows.iter().map(Past::read).collect()
    }

    /// Gives the occurrence that a job was made for, if a schedule made it: a handler asks it what its run is about.
    ///
    /// # Errors
    /// When the store refuses.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn occurrence_of(&self, id: JobId) -> Result<Option<OccurrenceOf>, Error> {
        let rows = self
            .jobs
            .store()
            .ask(&sql::SCHEDULE_OF_JOB, binds![id.0])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(OccurrenceOf {
            schedule: row.get(0)?,
            nominal: timestamp(row.get(1)?),
            by_hand: row.get::<i64>(2)? == 1,
        }))
    }

    /// Gives the schedules that are due and that nobody has looked at for [`OVERDUE_AFTER`], with how long: no worker
    /// runs, or something keeps all of them from it. Each worker asks this by itself, and tells it as an event.
    ///
    /// # Errors
    /// When the store refuses.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn overdue(&self) -> Result<Vec<(String, Duration)>, Error> {
        let binds = binds![crate::job::micros(OVERDUE_AFTER), PAGE_MAX as i64];
        let rows = self.jobs.store().ask(&sql::SCHEDULE_OVERDUE, binds).await?;
        let overdue = rows.iter().map(|row| {
            let over: i64 = row.get(1)?;
            Ok((
                row.get(0)?,
                Duration::from_micros(over.max(0).unsigned_abs()),
            ))
        });
        overdue.collect()
    }

    /// Gives the jobs of schedules that have not ended three periods after their start, the latest first and
    /// [`PAGE_MAX`] at most. Each worker asks this by itself, and tells it as an event, but for those that run and whose
    /// kind gives signs of progress.
    ///
    /// # Errors
    /// When the store refuses.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn late(&self) -> Result<Vec<Late>, Error> {
        self.late_but(Vec::new()).await
    }

    async fn late_but(&self, beating: Vec<String>) -> Result<Vec<Late>, Error> {
        let binds = binds![beating, PAGE_MAX as i64];
        let rows = self.jobs.store().ask(&sql::SCHEDULE_LATE, binds).await?;
        let late = rows.iter().map(|row| {
            let by: i64 = row.get(4)?;
            Ok(Late {
                job: JobId(row.get(0)?),
                kind: row.get(1)?,
                schedule: row.get(2)?,
                nominal: timestamp(row.get(3)?),
                by: Duration::from_micros(by.max(0).unsigned_abs()),
            })
        });
        late.collect()
    }

    /// Tells of schedules that are overdue and of their jobs that are late, unless they run and are of a kind that gives
    /// signs of progress; gives how many there are.
    pub(crate) async fn alarm(&self, beating: Vec<String>) -> Result<(usize, usize), Error> {
        let late = self.late_but(beating).await?;
        for late in &late {
            tracing::warn!(
                target: "steadfast::schedules",
                schedule = late.schedule,
                job = late.job.get(),
                kind = late.kind,
                nominal = %instant(late.nominal.unix_millis()),
                late_seconds = late.by.as_secs(),
                "a job of a schedule is late: three periods after its start it has not ended"
            );
        }
        let overdue = self.overdue().await?;
        let count = overdue.len();
        for (schedule, over) in overdue {
            tracing::error!(
                target: "steadfast::schedules",
                schedule,
                overdue_seconds = over.as_secs(),
                "a schedule is overdue: no node has made its job"
            );
        }
        Ok((count, late.len()))
    }

    /// Deletes what became of occurrences longer than [`KEPT`] ago; gives whether there may be more.
    pub(crate) async fn prune(&self) -> Result<bool, Error> {
        let binds = binds![crate::job::micros(KEPT), PRUNED];
        let rows = self.jobs.store().run(&sql::SCHEDULE_PRUNE, binds).await?;
        // One row with the count, or one for each.
        let first: i64 = rows.first().map_or(Ok(0), |row| row.get(0))?;
        Ok(first.max(rows.len() as i64) >= PRUNED)
    }
}

impl View {
    pub(super) fn of(stored: Stored) -> Self {
        let over = stored
            .look_us
            .map_or(0, |look| stored.now_us.saturating_sub(look));
        let over = Duration::from_micros(over.max(0).unsigned_abs());
        let next = timestamp(stored.next_us.unwrap_or(stored.now_us));
        Self {
            lengths: stored.schedule.plan().lengths(next),
            schedule: stored.schedule,
            revision: stored.changed.unsigned_abs(),
            next: stored.next_us.map(timestamp),
            queued: stored.queued_us.map(timestamp),
            paused: stored.paused.map(|(since, why)| (timestamp(since), why)),
            decided: stored.decided_us.map(timestamp),
            overdue: (over > OVERDUE_AFTER).then_some(over),
        }
    }
}

impl Past {
    fn read(row: &steadfast_store::Row) -> Result<Self, Error> {
        let reason: Option<String> = row.get(3)?;
        let outcome = match reason {
            Some(reason) => Outcome::Skipped {
                until: timestamp(row.get(1)?),
                count: row.get::<i64>(2)?.unsigned_abs(),
                reason,
            },
            None => Outcome::Made {
                job: JobId(row.get(4)?),
                by_hand: row.get::<i64>(5)? == 1,
                ended: row.get::<Option<i64>>(6)?.map(timestamp),
            },
        };
        Ok(Self {
            nominal: timestamp(row.get(0)?),
            outcome,
        })
    }
}
