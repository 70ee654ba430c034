//! A schedule, and an effect that happens exactly once: the entry in the ledger, what it settles and
//! the end of the job are one transaction. Killed before its commit there is nothing of it, killed
//! after it there is nothing left to do.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast::BoxError;
use steadfast::jobs::schedule::{Plan, Rule, Schedule, Schedules};
use steadfast::jobs::{Job, Jobs, Kind, Options, Run};
use steadfast::store::binds;

use crate::books::Books;

/// How often is settled: every ten seconds, so that one sees it. A shop would do it at night:
/// `Rule::cron("30 2 * * *")`.
pub(crate) const EVERY: Duration = Duration::from_secs(10);

/// Settles what was ordered since the last time.
#[derive(Serialize, Deserialize)]
pub struct Settle {}

impl Job for Settle {
    const KIND: &'static str = "settle";
}

/// Registers the schedule. Every process does so when it opens: what is the same already is left
/// alone, and however many of them are open, each occurrence is one job.
///
/// # Errors
/// When the store cannot be written.
pub async fn register(jobs: &Jobs) -> Result<(), BoxError> {
    let plan = Plan::builder(Rule::every(EVERY)?).build()?;
    let settlement = Schedule::new("settlement", plan, &Settle {}, Options::new())?;
    Schedules::new(jobs).register(&settlement).await?;
    Ok(())
}

/// Adds up, writes down, and ends with it.
pub fn kind(books: Books) -> Kind {
    Kind::new(move |run: Run, _: Settle| settle(books.clone(), run))
}

async fn settle(books: Books, run: Run) -> Result<(), BoxError> {
    let mut tx = books.store.begin().await?;
    let job = i64::try_from(run.id().get())?;
    let entry = "INSERT INTO ledger (job, orders, cents)
        SELECT ?1, count(*), sum(cents) FROM orders WHERE entry IS NULL HAVING count(*) > 0
        RETURNING number, orders, cents";
    let entry = tx.sql(entry, binds![job]).await?;
    if let Some(row) = entry.first() {
        #[cfg(feature = "drill")]
        crate::faults::reach("settlement").await;
        let (number, orders, cents): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let settled = "UPDATE orders SET entry = ?1 WHERE entry IS NULL";
        tx.sql(settled, binds![number]).await?;
        tracing::info!(target: "shop", orders, cents, "settled");
    }
    run.complete_in(tx, &()).await?;
    Ok(())
}
