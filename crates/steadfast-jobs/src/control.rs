//! What can be done to jobs and queues from outside.

use std::collections::HashSet;

use steadfast_store::binds;

use crate::client::{BATCH_MAX, KEY_TURNS};
use crate::error::{Refusal, Repr};
use crate::job::{check_key, check_name};
use crate::{Error, JobId, Jobs, sql};

/// The largest limit of a queue: 1,000,000.
const LIMIT_MAX: u32 = 1_000_000;

/// What became of a wish to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It did not run, and is cancelled.
    Now,
    /// It runs, and is asked to stop.
    Asked,
    /// It had ended already.
    Ended(crate::State),
    /// There is no such job, or not any more.
    Unknown,
}

/// What became of the wish to cancel many.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CancelledAll {
    /// Those that did not run, and are cancelled.
    pub now: Vec<JobId>,
    /// Those that run, and are asked to stop.
    pub asked: Vec<JobId>,
}

/// What became of the wish to redrive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Redriven {
    /// Those that are back to work.
    pub jobs: Vec<JobId>,
    /// Those whose unique key another job has, each with the id of that one.
    pub refused: Vec<(JobId, JobId)>,
}

impl Jobs {
    /// Cancels a job: one that does not run ends now; one that runs is told to stop, with
    /// [`Cause::Requested`](steadfast_core::Cause::Requested), within a second or two.
    ///
    /// # Errors
    /// When the reason is empty or longer than [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX), or the
    /// store refuses.
    ///
    /// # Cancel safety
    /// Dropped half-way, it may have been done or not.
    pub async fn cancel(&self, id: JobId, reason: &str) -> Result<Cancelled, Error> {
        check_key("reason", reason)?;
        for _ in 0..KEY_TURNS {
            let rows = self.store().run(&sql::CANCEL, binds![id.0, reason]).await?;
            match rows.first() {
                Some(row) if row.get::<i64>(0)? == 1 => return Ok(Cancelled::Now),
                Some(_) => {
                    self.wake();
                    return Ok(Cancelled::Asked);
                }
                // Claimed, ended or put back between the two looks of the statement.
                None => {}
            }
            let found = self.store().ask(&sql::FIND, binds![id.0]).await?;
            let state: Option<&str> = found.first().map(|row| row.get(3)).transpose()?;
            match state.and_then(crate::State::of) {
                None => return Ok(Cancelled::Unknown),
                Some(state) if state.is_terminal() => return Ok(Cancelled::Ended(state)),
                Some(_) => {}
            }
        }
        Err(Repr::Contended(id.to_string()).into())
    }

    /// Cancels jobs, as [`cancel`](Self::cancel) does one, many in a transaction.
    ///
    /// Those that have ended, or are not there any more, are missing from the answer. So are those that somebody
    /// keeps locked meanwhile, such as a transaction that completes them: another call finds what is live then.
    ///
    /// # Errors
    /// When the reason is out of bounds, there are more than [`BATCH_MAX`], or the store refuses.
    ///
    /// # Cancel safety
    /// Dropped half-way, it may have been done or not.
    pub async fn cancel_all(&self, ids: &[JobId], reason: &str) -> Result<CancelledAll, Error> {
        check_key("reason", reason)?;
        if ids.len() > BATCH_MAX {
            return Err(Refusal::Batch(ids.len()).into());
        }
        let mut left: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let mut cancelled = CancelledAll::default();
        // What was locked is perhaps not any more; until a turn finds none.
        for _ in 0..KEY_TURNS {
            let binds = binds![left.clone(), reason];
            let rows = self.store().run(&sql::CANCEL_ALL, binds).await?;
            let mut found = HashSet::new();
            for row in &rows {
                let id: i64 = row.get(0)?;
                found.insert(id);
                match row.get::<i64>(1)? {
                    1 => cancelled.now.push(JobId(id)),
                    _ => cancelled.asked.push(JobId(id)),
                }
            }
            left.retain(|id| !found.contains(id));
            if found.is_empty() || left.is_empty() {
                break;
            }
        }
        if !cancelled.asked.is_empty() {
            self.wake();
        }
        Ok(cancelled)
    }

    /// Puts jobs that were discarded, cancelled or quarantined back to work, with all their
    /// attempts, no crashes, and their unique key. A completed job stays completed, and one whose key
    /// another job has by now stays where it is.
    ///
    /// # Errors
    /// When there are more than [`BATCH_MAX`], or the store refuses.
    ///
    /// # Cancel safety
    /// Dropped half-way, it may have been done or not.
    pub async fn redrive(&self, ids: &[JobId]) -> Result<Redriven, Error> {
        if ids.len() > BATCH_MAX {
            return Err(Refusal::Batch(ids.len()).into());
        }
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let rows = self.store().run(&sql::REDRIVE, binds![ids.clone()]).await?;
        self.wake();
        let again: Result<Vec<i64>, _> = rows.iter().map(|row| row.get(0)).collect();
        let again = again?;
        let left: Vec<i64> = ids.into_iter().filter(|id| !again.contains(id)).collect();
        let mut redriven = Redriven {
            jobs: again.into_iter().map(JobId).collect(),
            refused: Vec::new(),
        };
        if !left.is_empty() {
            let rows = self.store().ask(&sql::KEY_HOLDERS, binds![left]).await?;
            for row in &rows {
                let (id, holder) = (JobId(row.get(0)?), JobId(row.get(1)?));
                redriven.refused.push((id, holder));
            }
        }
        Ok(redriven)
    }

    /// Makes a waiting job due now; tells whether it was waiting.
    ///
    /// # Errors
    /// When the store refuses.
    ///
    /// # Cancel safety
    /// Dropped half-way, it may have been done or not.
    pub async fn run_now(&self, id: JobId) -> Result<bool, Error> {
        let rows = self.store().run(&sql::RUN_NOW, binds![id.0]).await?;
        self.wake();
        Ok(!rows.is_empty())
    }

    /// Has no node claim from this queue, until [`resume`](Self::resume). What runs goes on, and
    /// what is enqueued waits.
    ///
    /// # Errors
    /// When name or reason are out of bounds, or the store refuses.
    ///
    /// # Cancel safety
    /// Dropped half-way, it may have been done or not.
    pub async fn pause(&self, queue: &str, reason: &str) -> Result<(), Error> {
        check_name("queue", queue)?;
        check_key("reason", reason)?;
        self.store().run(&sql::PAUSE, binds![queue, reason]).await?;
        Ok(())
    }

    /// Sets how many jobs of a queue run at once, in all nodes together, and how many of those with
    /// the same [key](crate::Options::limit_key); `None` takes a limit away. Both are at least 1.
    ///
    /// What counts are the rows of running jobs, so nothing can be lost or counted twice: what a
    /// dead node held counts until it is rescued, and what ran before the limit was set counts, too; for
    /// what is claimed in that very moment, nodes make sure of it within a second or two. A queue with a limit is claimed from by one
    /// node at a time, and without jobs held ahead, which makes it slower than others. Each claim begins at its start: while
    /// a session of PostgreSQL holds an old snapshot, it steps over all that was claimed since.
    ///
    /// # Errors
    /// When the name or a limit is out of bounds, or the store refuses.
    ///
    /// # Cancel safety
    /// Dropped half-way, it may have been done or not.
    pub async fn limit(
        &self,
        queue: &str,
        running: Option<u32>,
        running_per_key: Option<u32>,
    ) -> Result<(), Error> {
        check_name("queue", queue)?;
        for limit in [running, running_per_key].into_iter().flatten() {
            if !(1..=LIMIT_MAX).contains(&limit) {
                return Err(Refusal::Range {
                    what: "a limit",
                    is: limit.to_string(),
                    least: "1".into(),
                    most: LIMIT_MAX.to_string(),
                }
                .into());
            }
        }
        let binds = binds![queue, running, running_per_key];
        self.store().run(&sql::LIMIT, binds).await?;
        self.wake();
        Ok(())
    }

    /// Has nodes claim from this queue again.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    /// As [`pause`](Self::pause).
    pub async fn resume(&self, queue: &str) -> Result<(), Error> {
        // Older programs have paused queues of names that no new one has.
        check_key("queue", queue)?;
        let nothing = None::<String>;
        self.store()
            .run(&sql::PAUSE, binds![queue, nothing])
            .await?;
        self.wake();
        Ok(())
    }
}
