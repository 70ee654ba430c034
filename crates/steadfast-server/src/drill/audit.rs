//! What the books say once all work is done.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, anyhow};
use steadfast::clock;
use steadfast::jobs::schedule::{Outcome, RanNow, Schedules};
use steadfast::jobs::{JobId, Jobs, State};
use steadfast::store::{Error, Rows, binds};

use super::judge::Audit;
use super::stage::Stage;

/// How long work that was begun may take to be done: a minute. What is not done by then is lost.
const DONE_WITHIN: Duration = Duration::from_secs(60);

/// The same of one settlement, and of a shop where nobody does again what was lost: all of it takes four seconds,
/// and a timer comes every ten.
const ONCE_WITHIN: Duration = Duration::from_secs(15);

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// An order that is done with: on its way, receipted, and what is to be settled of it is settled.
const DONE: &str = "SELECT number, hold FROM orders WHERE state = 'shipped'
    AND EXISTS (SELECT 1 FROM mail WHERE key = 'receipt-' || number)";

const LEDGER: &str = "SELECT count(*), count(job) - count(DISTINCT job),
    coalesce(sum(abs(cents - coalesce((SELECT sum(o.cents) FROM orders AS o WHERE o.entry = ledger.number), 0))), 0)
    FROM ledger";

const OPEN: &str = "SELECT count(*), coalesce(sum(entry IS NULL), 0), coalesce(sum(state <> 'shipped'), 0) FROM orders";

/// Waits until all work is done, or cannot be expected to be any more, and reads the books.
pub(super) async fn audit(stage: &mut Stage) -> anyhow::Result<Audit> {
    settle_all(stage).await?;
    let (orders, _, _) = open(stage).await?;
    let paid = stage.holds().await?;
    let paid: HashSet<&str> = paid["paid"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|it| it.as_str())
        .collect();
    let mut done = 0;
    for row in rows(stage, DONE).await?.iter() {
        let hold: &str = row.get(1)?;
        done += u64::from(paid.contains(hold));
    }
    let ledger = rows(stage, LEDGER).await?;
    let ledger = ledger.first().context("a ledger")?;
    let (occurrences, occurrences_not_once) = occurrences(stage).await?;
    Ok(Audit {
        // A client that was not told may have an order all the same.
        promised: stage.promised.max(orders),
        done,
        entries: ledger.get::<i64>(0)? as u64,
        entries_twice: ledger.get::<i64>(1)? as u64,
        off_cents: ledger.get(2)?,
        occurrences,
        occurrences_not_once,
    })
}

async fn settle_all(stage: &Stage) -> anyhow::Result<()> {
    let within = if stage.protected {
        DONE_WITHIN
    } else {
        ONCE_WITHIN
    };
    let until = clock::now() + within;
    let schedules = Schedules::new(stage.books.jobs());
    while clock::now() < until {
        let (_, unsettled, unshipped) = open(stage).await?;
        let counts = stage.books.jobs().counts().await?;
        let live: u64 = [State::Pending, State::Running, State::Waiting]
            .map(|state| counts.of(state))
            .iter()
            .sum();
        if unshipped == 0 && live == 0 {
            if unsettled == 0 {
                break;
            }
            if stage.protected {
                let (RanNow::Made(_) | RanNow::Busy(_)) = schedules.run_now("settlement").await?;
            }
        }
        clock::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// How many orders there are, and how many are not settled or not on their way.
async fn open(stage: &Stage) -> anyhow::Result<(u64, u64, u64)> {
    let rows = rows(stage, OPEN).await?;
    let row = rows.first().context("orders")?;
    let of = |column| row.get::<i64>(column).map(|number| number as u64);
    Ok((of(0)?, of(1)?, of(2)?))
}

/// How many occurrences of the settlement became jobs, and how many of them have another number than
/// one, or one that did not end well.
async fn occurrences(stage: &Stage) -> anyhow::Result<(u64, u64)> {
    let jobs = stage.books.jobs();
    let past = Schedules::new(jobs)
        .history("settlement", clock::timestamp(), 500)
        .await?;
    let (mut seen, mut made, mut wrong) = (HashSet::new(), 0, 0);
    for occurrence in past {
        let Outcome::Made { job, .. } = occurrence.outcome else {
            continue;
        };
        made += 1;
        let well = ended(jobs, job).await? == State::Completed;
        wrong += u64::from(!seen.insert(occurrence.nominal) || !well);
    }
    Ok((made, wrong))
}

/// Waits for the end of a job, and gives it: one that is due just now is under way.
async fn ended(jobs: &Jobs, id: JobId) -> anyhow::Result<State> {
    let until = clock::now() + ONCE_WITHIN;
    loop {
        let job = jobs.find(id).await?;
        let job = job.ok_or_else(|| anyhow!("an occurrence without its job"))?;
        match job.info.state {
            State::Pending | State::Running | State::Waiting if clock::now() < until => {
                clock::sleep(LOOK_EVERY).await;
            }
            state => return Ok(state),
        }
    }
}

async fn rows(stage: &Stage, text: &'static str) -> Result<Rows, Error> {
    let store = stage.books.jobs().store();
    store
        .read(async |mut tx| tx.sql(text, binds![]).await)
        .await
}
