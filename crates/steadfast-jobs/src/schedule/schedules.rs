//! The schedules of a store: registered, changed, looked at.

use std::fmt;

use steadfast_store::{Rows, Tx, binds};

use super::View;
use super::due::{Due, SkipReason, Skipped};
use super::occur::{moved_on, skip};
use super::plan::Overlap;
use super::stored::{Schedule, Stored, timestamp};
use crate::error::Repr;
use crate::job::check_key;
use crate::{Error, JobId, Jobs, sql};

/// The schedules of a store. Cheap to clone.
///
/// Any process may register, change and list them. Jobs are made by the workers of the store, without a leader:
/// each of them looks about once a second at what is due, and sooner when it knows that something is.
///
/// # Examples
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use steadfast_jobs::{Error, Job, Jobs, Options};
/// use steadfast_jobs::schedule::{Plan, Registered, Rule, Schedule, Schedules};
/// # use steadfast_store::{Config, Store};
/// # #[derive(Serialize, Deserialize)] struct Settle;
/// # impl Job for Settle { const KIND: &'static str = "settle"; }
/// # #[cfg(feature = "sqlite")] {
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = std::env::temp_dir().join(format!("jobs-doc-schedules-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let store = Store::open(Config::sqlite(folder.join("shop.db"))).await?;
/// let schedules = Schedules::new(&Jobs::open(&store).await?);
///
/// // At every start of every node: what is the same already changes nothing, least of all the next due time.
/// let plan = Plan::builder(Rule::cron("30 2 * * *")?).build()?;
/// let nightly = Schedule::new("settle", plan, &Settle, Options::new())?;
/// assert_eq!(schedules.register(&nightly).await?, Registered::Added);
/// assert_eq!(schedules.register(&nightly).await?, Registered::Same);
///
/// let view = schedules.find("settle").await?.unwrap();
/// assert_eq!(view.schedule.plan().describe(), "every day at 02:30, UTC");
/// assert!(view.next.is_some());
/// # store.close().await; std::fs::remove_dir_all(folder)?;
/// # Ok(()) } main().unwrap(); }
/// ```
#[derive(Clone)]
pub struct Schedules {
    pub(super) jobs: Jobs,
    /// The revision that was seen of what is changed.
    expected: Option<u64>,
}

/// What registering a schedule has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// There was none of its name.
    Added,
    /// There was another one of its name.
    Changed,
    /// It was there already.
    Same,
}

/// What became of the wish to run a schedule now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RanNow {
    /// This job was made.
    Made(JobId),
    /// An earlier run has not ended, and the plan does not let two of them overlap.
    Busy(JobId),
}

impl Schedules {
    /// Gives the schedules of a store.
    #[must_use]
    pub fn new(jobs: &Jobs) -> Self {
        Self {
            jobs: jobs.clone(),
            expected: None,
        }
    }

    /// Gives the same schedules to somebody who has seen one of them at this [revision](super::View::revision), or that
    /// there is none, for 0: a change is made only if that still is so, and otherwise is an error
    /// ([`Error::is_changed`]). Looked at and changed is in one transaction, so of two who have seen the same, one is
    /// told so. An occurrence is no change, nor is a run by hand.
    ///
    /// Unless this is said, a change is made of whatever is there.
    #[must_use]
    pub fn if_at(&self, revision: u64) -> Self {
        Self {
            jobs: self.jobs.clone(),
            expected: Some(revision),
        }
    }

    /// Adds a schedule, or changes the one of its name to what this one says.
    ///
    /// What is the same already is left alone: a service that registers its schedules at each start shifts nothing.
    /// A new rule counts from now on. If the old one is due in this very moment, it has its job first: of an edit in
    /// the second of an occurrence, the old or the new one has it, never both. A schedule that is paused stays so.
    ///
    /// # Errors
    /// When it was changed since it was [seen](Self::if_at), or the store refuses.
    ///
    /// # Cancel safety
    /// Dropped half-way, it may have been done or not.
    pub async fn register(&self, schedule: &Schedule) -> Result<Registered, Error> {
        let mut tx = self.jobs.store().begin().await?;
        let (registered, now_us) = self.register_in(&mut tx, schedule).await?;
        tx.commit().await?;
        tell_registered(schedule, registered, now_us);
        Ok(registered)
    }

    /// Does what [`register`](Self::register) does, and gives the schedule as that has left it: what others do to it next is
    /// not in it.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    ///
    /// # Cancel safety
    /// As [`register`](Self::register).
    pub async fn put(&self, schedule: &Schedule) -> Result<(Registered, View), Error> {
        let mut tx = self.jobs.store().begin().await?;
        let (registered, now_us) = self.register_in(&mut tx, schedule).await?;
        let rows = tx.run(&sql::SCHEDULE_TAKE, binds![schedule.name()]).await?;
        let view = View::of(Stored::read(rows.one()?)?);
        tx.commit().await?;
        tell_registered(schedule, registered, now_us);
        Ok((registered, view))
    }

    /// Gives what was changed, and the time of the database.
    async fn register_in(
        &self,
        tx: &mut Tx<'_>,
        schedule: &Schedule,
    ) -> Result<(Registered, i64), Error> {
        let us = |ms: i64| ms.saturating_mul(1_000);
        let name = schedule.name();
        let rows = self.row(tx, name).await?;
        let Some(row) = rows.first() else {
            let now_us: i64 = tx.run(&sql::SCHEDULE_NOW, binds![]).await?.one()?.get(0)?;
            let next = schedule.plan().first_ms(now_us.div_euclid(1_000), None);
            let mut binds = schedule.binds();
            binds.push(next.map(us).into());
            let rows = tx.run(&sql::SCHEDULE_PUT, binds).await?;
            // Somebody else has added it since: the next call finds theirs.
            moved_on(&rows, name)?;
            return Ok((Registered::Added, now_us));
        };
        let mut stored = match Stored::read(row) {
            // What cannot be read cannot run either, and is replaced.
            Err(error) if !error.is_unreadable_schedule() => return Err(error),
            stored => stored.ok(),
        };
        if stored
            .as_ref()
            .is_some_and(|stored| stored.schedule == *schedule)
        {
            return Ok((Registered::Same, row.get(21)?));
        }
        let is_due = |stored: &Stored| {
            stored.paused.is_none() && stored.look_us.is_some_and(|look| look <= stored.now_us)
        };
        if stored.as_ref().is_some_and(is_due) {
            if let Some(stored) = &stored {
                self.occur_in(tx, stored).await?;
            }
            let rows = tx.run(&sql::SCHEDULE_TAKE, binds![name]).await?;
            stored = Some(Stored::read(rows.one()?)?);
        }
        let (revision, now_us): (i64, i64) = match &stored {
            Some(stored) => (stored.revision, stored.now_us),
            None => (row.get(14)?, row.get(21)?),
        };
        let (next, queued, is_paused) = match &stored {
            Some(stored) => {
                let same = stored.schedule.plan().rule() == schedule.plan().rule()
                    && stored.schedule.plan().zone() == schedule.plan().zone();
                let first = schedule
                    .plan()
                    .first_ms(stored.now_ms(), stored.decided_ms());
                let next = if same { stored.next_us } else { first.map(us) };
                (next, stored.queued_us, stored.paused.is_some())
            }
            None => {
                let first = schedule.plan().first_ms(now_us.div_euclid(1_000), None);
                (first.map(us), None, row.get::<Option<i64>>(18)?.is_some())
            }
        };
        let (next, look) = if is_paused {
            (None, None)
        } else {
            (next, [next, queued].into_iter().flatten().min())
        };
        let mut binds = schedule.binds();
        binds.extend(binds![next, revision, look]);
        let rows = tx.run(&sql::SCHEDULE_EDIT, binds).await?;
        moved_on(&rows, name)?;
        Ok((Registered::Changed, now_us))
    }

    /// Takes the row of a schedule, so that nobody else changes it until this transaction ends; gives none if there is none.
    async fn row(&self, tx: &mut Tx<'_>, name: &str) -> Result<Rows, Error> {
        let rows = tx.run(&sql::SCHEDULE_TAKE, binds![name]).await?;
        let is = match rows.first() {
            Some(row) => row.get::<i64>(22)?.unsigned_abs(),
            None => 0,
        };
        self.expects(name, is)?;
        Ok(rows)
    }

    /// Refuses what is at another revision than was seen.
    pub(super) fn expects(&self, name: &str, is: u64) -> Result<(), Error> {
        match self.expected {
            Some(expected) if expected != is => Err(Repr::Changed(name.to_owned()).into()),
            _ => Ok(()),
        }
    }

    pub(super) async fn take(&self, tx: &mut Tx<'_>, name: &str) -> Result<Stored, Error> {
        match self.row(tx, name).await?.first() {
            Some(row) => Stored::read(row),
            None => Err(Repr::NoSchedule(name.to_owned()).into()),
        }
    }

    /// Has a schedule make no jobs until [`resume`](Self::resume). What it has made goes on; an occurrence that is due
    /// or waits in this moment is left out.
    ///
    /// # Errors
    /// When there is no such schedule, the reason is empty or longer than
    /// [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX), or the store refuses.
    ///
    /// # Cancel safety
    /// Dropped half-way, it may have been done or not.
    pub async fn pause(&self, name: &str, reason: &str) -> Result<(), Error> {
        check_key("reason", reason)?;
        let mut tx = self.jobs.store().begin().await?;
        let stored = self.take(&mut tx, name).await?;
        let due = stored.next_us.filter(|next| *next <= stored.now_us);
        let mut left_out: Vec<i64> = [stored.queued_us, due].into_iter().flatten().collect();
        left_out.sort_unstable();
        let left_out: Vec<Skipped> = left_out
            .into_iter()
            .map(|us| Skipped {
                first_ms: us.div_euclid(1_000),
                last_ms: us.div_euclid(1_000),
                count: 1,
                reason: SkipReason::Paused,
            })
            .collect();
        skip(&mut tx, name, &left_out).await?;
        let binds = binds![name, stored.revision, reason, None::<i64>];
        let rows = tx.run(&sql::SCHEDULE_PAUSE, binds).await?;
        moved_on(&rows, name)?;
        tx.commit().await?;
        Ok(())
    }

    /// Goes on with a schedule that was paused: with the next due time from now on. Nothing of the pause is caught up;
    /// [`backfill`](Self::backfill) does that.
    ///
    /// # Errors
    /// When there is no such schedule, or the store refuses.
    ///
    /// # Cancel safety
    /// Dropped half-way, it may have been done or not.
    pub async fn resume(&self, name: &str) -> Result<(), Error> {
        let mut tx = self.jobs.store().begin().await?;
        let stored = self.take(&mut tx, name).await?;
        if stored.paused.is_some() {
            let plan = stored.schedule.plan();
            let next = plan.first_ms(stored.now_ms(), stored.decided_ms());
            let next = next.map(|ms| ms.saturating_mul(1_000));
            let binds = binds![name, stored.revision, None::<String>, next];
            let rows = tx.run(&sql::SCHEDULE_PAUSE, binds).await?;
            moved_on(&rows, name)?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Deletes a schedule; tells whether there was one. What it has made goes on, and its history stays.
    ///
    /// # Errors
    /// When the store refuses.
    ///
    /// # Cancel safety
    /// Dropped half-way, it may have been done or not.
    pub async fn delete(&self, name: &str) -> Result<bool, Error> {
        // Older programs have made some of names that no new one has.
        check_key("name of a schedule", name)?;
        let mut tx = self.jobs.store().begin().await?;
        self.row(&mut tx, name).await?;
        let rows = tx.run(&sql::SCHEDULE_DELETE, binds![name]).await?;
        tx.commit().await?;
        Ok(!rows.is_empty())
    }

    /// Makes a job of a schedule now, also while it is paused. Its next due time stays.
    ///
    /// # Errors
    /// When there is no such schedule, or the store refuses.
    ///
    /// # Cancel safety
    /// Dropped half-way, it may have been done or not.
    pub async fn run_now(&self, name: &str) -> Result<RanNow, Error> {
        let mut tx = self.jobs.store().begin().await?;
        let stored = self.take(&mut tx, name).await?;
        let runs = self.runs(&mut tx, name).await?;
        let overlaps = stored.schedule.plan().overlap() == Overlap::Allow;
        if let Some(live) = runs.live.first().filter(|_| !overlaps) {
            tx.commit().await?;
            return Ok(RanNow::Busy(JobId(*live)));
        }
        let now_ms = stored.now_ms();
        let due = at_once(now_ms, now_ms);
        let made = self
            .make(&mut tx, &stored.schedule, &[due], true, now_ms)
            .await?;
        tx.commit().await?;
        let id = made.first().copied();
        // Two within one millisecond: the second is told to come back.
        id.map(RanNow::Made)
            .ok_or_else(|| Repr::Contended(format!("schedule {name}")).into())
    }
}

impl fmt::Debug for Schedules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedules").finish_non_exhaustive()
    }
}

/// Tells of a schedule that was added or changed, with how long its runs may take.
fn tell_registered(schedule: &Schedule, registered: Registered, now_us: i64) {
    if registered == Registered::Same {
        return;
    }
    let lengths = schedule.plan().lengths(timestamp(now_us));
    tracing::info!(
        target: "steadfast::schedules",
        schedule = schedule.name(),
        registered = ?registered,
        plan = schedule.plan().describe(),
        longest_run_s = lengths.map(|lengths| lengths.longest_run.as_secs()),
        late_after_s = lengths.map(|lengths| lengths.late_after.as_secs()),
        "a schedule is registered"
    );
}

pub(super) fn at_once(nominal_ms: i64, now_ms: i64) -> Due {
    Due {
        nominal_ms,
        start_ms: now_ms,
        start_until_ms: None,
    }
}
