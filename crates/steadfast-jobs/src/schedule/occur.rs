//! Occurrences become jobs: one transaction each time, by any node.
//!
//! A node takes the row of a schedule, decides, makes the jobs, notes them, and moves the row on, all in one
//! transaction. Two things make it one job for each occurrence, whoever else tries and wherever a node dies:
//! the row is moved on only from the *revision* that was read, and a *primary key* on schedule and nominal time.
//! Before the commit nothing of it is there; after it the row says that it was done.

use std::time::Duration;

use steadfast_core::Timestamp;
use steadfast_store::{Array, Tx, Value, binds};

use super::due::{Decision, Due, SkipReason, Skipped};
use super::schedules::Schedules;
use super::stored::{Schedule, Stored};
use crate::client::Batch;
use crate::error::Repr;
use crate::job::micros;
use crate::{Error, JobId, sql};

/// How many schedules are looked at in one go: 1,000.
const LOOKED_AT: i64 = 1_000;

/// How often more is looked at without a pause, when more was due than fits one go: 100 times.
const TURNS: usize = 100;

/// How long is waited at most until the next look: a second. What another process registers with an earlier due
/// time is that much late.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How many runs of a schedule are counted: 1,000. More only overlap where that is allowed, and there nobody
/// counts.
const RUNS: i64 = 1_000;

/// What one look at the schedules has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occurred {
    /// Jobs that were made.
    pub made: usize,
    /// Occurrences that were left out.
    pub skipped: u64,
    /// Schedules that could not be decided about; why is told as an event.
    pub failed: usize,
    /// How long until something is due, a second at most.
    pub next_in: Duration,
}

/// Runs that have not ended, and when the last that has did.
pub(super) struct Runs {
    pub(super) live: Vec<i64>,
    pub(super) ended_us: Option<i64>,
}

impl Schedules {
    /// Makes the jobs of all occurrences that are due; workers do so by themselves.
    ///
    /// Any number of nodes may do it at once. What fails for one schedule is told as an event and tried again
    /// with the next look, and stops no other.
    ///
    /// # Errors
    /// When the store cannot be asked what is due.
    ///
    /// # Cancel safety
    /// Dropped half-way, each schedule was moved on with all of its jobs or not at all.
    pub async fn occur(&self) -> Result<Occurred, Error> {
        let mut occurred = Occurred {
            next_in: LOOK_EVERY,
            ..Occurred::default()
        };
        for _ in 0..TURNS {
            let rows = self
                .jobs
                .store()
                .ask(&sql::SCHEDULE_LOOK, binds![LOOKED_AT])
                .await?;
            let (mut done, mut failed) = (0, 0);
            for row in &rows {
                let (name, wait_us): (&str, i64) = (row.get(0)?, row.get(1)?);
                if wait_us > 0 {
                    let wait = Duration::from_micros(wait_us.unsigned_abs());
                    occurred.next_in = occurred.next_in.min(wait);
                    break;
                }
                // Boxed, so that whoever looks has not all of it on the stack.
                match Box::pin(self.occur_one(name)).await {
                    Ok(decision) => {
                        done += 1;
                        occurred.note(&decision);
                    }
                    Err(error) => {
                        failed += 1;
                        tracing::warn!(
                            target: "steadfast::schedules",
                            schedule = name,
                            %error,
                            "a schedule could not be decided about; it is tried again"
                        );
                    }
                }
            }
            occurred.failed = failed;
            if done == 0 {
                return Ok(occurred);
            }
        }
        occurred.next_in = Duration::ZERO;
        Ok(occurred)
    }

    async fn occur_one(&self, name: &str) -> Result<Decision, Error> {
        let mut tx = self.jobs.store().begin().await?;
        let rows = tx.run(&sql::SCHEDULE_TAKE, binds![name]).await?;
        let Some(stored) = rows.first().map(Stored::read).transpose()? else {
            tx.roll_back().await?;
            return Ok(Decision::default());
        };
        let is_due = stored.look_us.is_some_and(|look| look <= stored.now_us);
        if stored.paused.is_some() || !is_due {
            tx.roll_back().await?;
            return Ok(Decision::default());
        }
        let decision = self.occur_in(&mut tx, &stored).await?;
        tx.commit().await?;
        Ok(decision)
    }

    /// Decides about a schedule that was taken, and does what was decided.
    pub(super) async fn occur_in(
        &self,
        tx: &mut Tx<'_>,
        stored: &Stored,
    ) -> Result<Decision, Error> {
        let schedule = &stored.schedule;
        let (name, now_ms) = (schedule.name(), stored.now_ms());
        let runs = self.runs(tx, name).await?;
        let standing = stored.standing(runs.live.len(), runs.ended_us);
        let decision = schedule.plan().decide(schedule.seed(), standing, now_ms);
        if decision.cancels_live {
            for id in &runs.live {
                tx.run(
                    &sql::CANCEL,
                    binds![*id, "a later occurrence takes its place"],
                )
                .await?;
            }
        }
        self.make(tx, schedule, &decision.due, false, now_ms)
            .await?;
        skip(tx, name, &decision.skipped).await?;
        let us = |ms: i64| ms.saturating_mul(1_000);
        let decided = [
            decision.due.last().map(|due| due.nominal_ms),
            decision.skipped.last().map(|skipped| skipped.last_ms),
            decision.queued_ms,
        ];
        let rows = tx
            .run(
                &sql::SCHEDULE_ADVANCE,
                binds![
                    name,
                    stored.revision,
                    decision.next_ms.map(us),
                    decision.queued_ms.map(us),
                    decision.look_ms(now_ms).map(us),
                    decided.into_iter().flatten().max().map(us),
                ],
            )
            .await?;
        moved_on(&rows, name)?;
        for skipped in &decision.skipped {
            tell_skipped(name, skipped);
        }
        Ok(decision)
    }

    /// Finds out which runs of a schedule have not ended.
    pub(super) async fn runs(&self, tx: &mut Tx<'_>, name: &str) -> Result<Runs, Error> {
        tx.run(&sql::SCHEDULE_SETTLE, binds![name]).await?;
        let rows = tx.run(&sql::SCHEDULE_RUNS, binds![name, RUNS]).await?;
        let mut runs = Runs {
            live: Vec::new(),
            ended_us: None,
        };
        for row in &rows {
            match row.get::<Option<i64>>(0)? {
                Some(id) => runs.live.push(id),
                None => runs.ended_us = row.get(1)?,
            }
        }
        Ok(runs)
    }

    /// Makes the jobs of occurrences that have none yet; gives them.
    pub(super) async fn make(
        &self,
        tx: &mut Tx<'_>,
        schedule: &Schedule,
        due: &[Due],
        by_hand: bool,
        now_ms: i64,
    ) -> Result<Vec<JobId>, Error> {
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let by_hand = i64::from(by_hand);
        let nominal: Vec<i64> = due
            .iter()
            .map(|due| due.nominal_ms.saturating_mul(1_000))
            .collect();
        let rows = tx
            .run(
                &sql::SCHEDULE_MARK,
                binds![schedule.name(), by_hand, nominal],
            )
            .await?;
        let marked: Vec<i64> = rows
            .iter()
            .map(|row| row.get(0))
            .collect::<Result<_, _>>()?;
        let mut batch = Batch::new();
        let mut made = Vec::new();
        let (mut longest, mut late) = (Vec::new(), Vec::new());
        for due in due {
            let nominal_us = due.nominal_ms.saturating_mul(1_000);
            if marked.contains(&nominal_us) {
                batch.push_draft(schedule.draft(*due, now_ms));
                made.push(nominal_us);
                let nominal = Timestamp::from_unix_millis(due.nominal_ms);
                let lengths = schedule.plan().lengths(nominal);
                longest.push(lengths.map(|lengths| micros(lengths.longest_run)));
                // What is caught up has its time as any other.
                let start_us = due.start_ms.max(now_ms).saturating_mul(1_000);
                late.push(lengths.map(|lengths| start_us + micros(lengths.late_after)));
            }
        }
        if made.is_empty() {
            return Ok(Vec::new());
        }
        let ids = self.jobs.enqueue_batch_in(tx, batch).await?;
        let numbers: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let columns = Value::Batch(vec![
            Array::from(made),
            Array::from(numbers),
            Array::from(longest),
            Array::from(late),
        ]);
        tx.run(
            &sql::SCHEDULE_MADE,
            binds![schedule.name(), by_hand, columns],
        )
        .await?;
        Ok(ids)
    }
}

impl Occurred {
    fn note(&mut self, decision: &Decision) {
        self.made += decision.due.len();
        self.skipped += decision
            .skipped
            .iter()
            .map(|skipped| u64::from(skipped.count))
            .sum::<u64>();
    }
}

/// Notes occurrences that are left out.
pub(super) async fn skip(tx: &mut Tx<'_>, name: &str, skipped: &[Skipped]) -> Result<(), Error> {
    if skipped.is_empty() {
        return Ok(());
    }
    let column = |value: &dyn Fn(&Skipped) -> i64| -> Array {
        Array::from(skipped.iter().map(value).collect::<Vec<i64>>())
    };
    let reasons: Vec<String> = skipped
        .iter()
        .map(|skipped| skipped.reason.as_str().to_owned())
        .collect();
    let columns = Value::Batch(vec![
        column(&|skipped| skipped.first_ms.saturating_mul(1_000)),
        column(&|skipped| skipped.last_ms.saturating_mul(1_000)),
        column(&|skipped| i64::from(skipped.count)),
        Array::from(reasons),
    ]);
    tx.run(&sql::SCHEDULE_SKIP, binds![name, columns]).await?;
    Ok(())
}

/// Makes sure that a change found the row as it was read.
pub(super) fn moved_on(rows: &steadfast_store::Rows, name: &str) -> Result<(), Error> {
    if rows.is_empty() {
        return Err(Repr::Contended(format!("schedule {name}")).into());
    }
    Ok(())
}

pub(super) fn tell_skipped(name: &str, skipped: &Skipped) {
    let reason = skipped.reason.as_str();
    match skipped.reason {
        SkipReason::Paused => {}
        _ => tracing::warn!(
            target: "steadfast::schedules",
            schedule = name,
            reason,
            count = skipped.count,
            "occurrences of a schedule were left out"
        ),
    }
}
