use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use steadfast_core::context::Context;
use steadfast_core::{Cancel, clock};
use steadfast_store::{Tx, binds};

use super::alone::Alone;
use super::execute::unfit;
use crate::error::{Refusal, Repr};
use crate::{Error, JobId, sql};

/// One run of a job, in the hands of its handler. Cheap to clone.
#[derive(Clone)]
pub struct Run(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) id: JobId,
    pub(crate) term: i64,
    pub(crate) incarnation: i64,
    pub(crate) spent: u32,
    pub(crate) max_attempts: u32,
    pub(crate) crashes: u32,
    /// How long it may take.
    pub(crate) longest: Duration,
    pub(crate) cancel: Cancel,
    /// Cancelled when the lease is lost, also where `cancel` is not; by nobody but the engine.
    pub(crate) lost: Cancel,
    /// When it last gave a sign, in nanoseconds of the monotonic clock.
    pub(crate) beat_ns: AtomicU64,
    pub(crate) settled: AtomicU8,
    pub(crate) alone: Alone,
    pub(crate) context: Context,
}

/// Whether the handler has completed its job itself.
pub(crate) mod settled {
    /// It has not.
    pub(crate) const NO: u8 = 0;
    /// It has, in a transaction that has been committed.
    pub(crate) const YES: u8 = 1;
    /// It has, in a transaction whose end is not known here.
    pub(crate) const PERHAPS: u8 = 2;
    /// It tried, and the store says that another node has the job.
    pub(crate) const REJECTED: u8 = 3;
}

impl Run {
    /// Gives the id of the job.
    pub fn id(&self) -> JobId {
        self.0.id
    }

    /// Gives the fence: a number that grows each time the job changes hands, and never else.
    ///
    /// A resource outside of the database that keeps the highest term it has seen for a job, and
    /// refuses lower ones, cannot be changed by a run that has lost its lease and does not know it
    /// yet. The attempt is no such number: a rescued job has the same attempt twice.
    pub fn term(&self) -> u64 {
        self.0.term.unsigned_abs()
    }

    /// Tells which attempt this is, counted from 1. Runs that crashed, were handed back or snoozed
    /// do not count.
    pub fn attempt(&self) -> u32 {
        self.0.spent.saturating_add(1)
    }

    /// Tells how many attempts there are, the first one included.
    pub fn max_attempts(&self) -> u32 {
        self.0.max_attempts
    }

    /// Tells how many processes died with this job since a run of it last came to an end.
    pub fn crashes(&self) -> u32 {
        self.0.crashes
    }

    /// Gives the token that is cancelled when the run should end, with the cause: its time is up,
    /// somebody cancelled the job, the process goes down, or the lease is lost. The handler is
    /// dropped at its next await then, and its cleanups run; code that does not await has to ask.
    pub fn cancel(&self) -> Cancel {
        self.0.cancel.clone()
    }

    /// Gives the token that is cancelled when the lease is lost: from then on another node may have the
    /// job. For handlers that go on nevertheless ([`OnLeaseLost::Continue`](super::OnLeaseLost)); that of
    /// all others is [`cancel`](Self::cancel).
    pub fn lease_lost(&self) -> Cancel {
        // It is believed: nobody else is to cancel it.
        self.0.lost.child()
    }

    /// Tells how long this run may take.
    pub fn longest(&self) -> Duration {
        self.0.longest
    }

    /// Gives a sign of progress. A run of a kind with
    /// [`Kind::beat_every`](crate::Kind::beat_every) has to give one that often.
    pub fn beat(&self) {
        self.0.beat_ns.store(clock::nanos(), Ordering::Relaxed);
    }

    /// Completes the job and commits, in one transaction: what the handler did in it and the
    /// completion are both there or both absent, whatever dies. That makes the effect of the job
    /// happen exactly once, in this database.
    ///
    /// What the handler returns afterwards does not count.
    ///
    /// # Errors
    /// When the result is over its bounds, which are those of every result: 64 KiB of JSON, 128 deep. When the
    /// lease is lost ([`Error::is_lease_lost`]): another node has the job, and nothing of
    /// the transaction stays. When the store refuses: the handler should return the error, and the
    /// job is run again, unless it turns out to have been completed.
    ///
    /// # Cancel safety
    /// Dropped half-way, it may have been done or not; the worker finds out.
    pub async fn complete_in<R: Serialize>(
        &self,
        mut tx: Tx<'static>,
        result: &R,
    ) -> Result<(), Error> {
        self.complete_within(&mut tx, result).await?;
        tx.commit().await?;
        self.0.settled.store(settled::YES, Ordering::Release);
        Ok(())
    }

    /// As [`complete_in`](Self::complete_in), for a transaction that the caller commits: also for
    /// one that is not ours.
    ///
    /// If the lease is lost, the database raises an error inside of the transaction, so that a
    /// commit cannot succeed even if the error is ignored here. The handler has to return `Ok`
    /// only after its commit; if it was rolled back instead, the attempt has failed.
    ///
    /// # Errors
    /// As [`complete_in`](Self::complete_in).
    ///
    /// # Cancel safety
    /// Dropped half-way, the transaction is over.
    pub async fn complete_within<R: Serialize>(
        &self,
        tx: &mut Tx<'_>,
        result: &R,
    ) -> Result<(), Error> {
        let Inner {
            id,
            term,
            incarnation,
            ..
        } = *self.0;
        let result = serde_json::to_string(result).map_err(Error::payload)?;
        let result = Some(result).filter(|json| json != "null");
        if let Some(why) = result.as_deref().and_then(unfit) {
            return Err(Refusal::Result(why).into());
        }
        self.0.settled.store(settled::PERHAPS, Ordering::Release);
        let completed = tx.run(&sql::COMPLETE_IN, binds![id.0, term, incarnation, result]);
        match completed.await {
            Ok(_) => Ok(()),
            Err(error) if is_fence(&error) => {
                self.0.settled.store(settled::REJECTED, Ordering::Release);
                Err(Repr::LeaseLost(id).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Tells whether an earlier run may have left something half done.
    pub(crate) fn is_again(&self) -> bool {
        self.0.spent > 0 || self.0.crashes > 0 || self.0.term > 1
    }
}

/// Tells whether the database raised because the lease is lost: the one rule that this statement can
/// break.
fn is_fence(error: &steadfast_store::Error) -> bool {
    error.is_constraint_violation()
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("id", &self.0.id)
            .field("term", &self.0.term)
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}
