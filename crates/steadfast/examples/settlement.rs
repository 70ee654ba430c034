//! A ledger whose worker is killed at random, again and again: it balances at the end. And beside it one that does
//! not, because effect and end of its jobs are two transactions.
//!
//! `cargo run -p steadfast --features jobs,sqlite,postgres --example settlement -- [KILLS] [URL]`
//!
//! Without a URL, such as `postgres://postgres@localhost/shop`, it uses a file of SQLite in a folder of its own, which is
//! deleted afterwards. In PostgreSQL the tables stay.
//!
//! The program enqueues 300 payments, starts itself as a worker, and kills that one some milliseconds later, by the
//! choice of chance; so often as it is told, 10 times unless said. Then the rest is worked off in peace. Each payment
//! is one entry in the ledger, or it is not.

#![allow(clippy::print_stdout, reason = "a program that shows what happens")]

use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast::jobs::{Batch, Job, Jobs, Kind, Options, Run, Running, Worker};
use steadfast::store::{Config, Dialect, Error, Rows, Store, binds};
use steadfast::{BoxError, clock, rng};

/// Pays an amount.
#[derive(Serialize, Deserialize)]
struct Pay {
    amount: i64,
}

impl Job for Pay {
    const KIND: &'static str = "pay";
}

/// How many payments there are, of 1, 2, 3 … each.
const PAYMENTS: i64 = 300;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, url, how] = &arguments[..]
        && role == "work"
    {
        let _worker = work(url, how).await?;
        return std::future::pending().await;
    }
    let kills = arguments.first().map_or(Ok(10), |kills| kills.parse())?;
    let folder = std::env::temp_dir().join(format!("settlement-{}", std::process::id()));
    let url = match arguments.get(1) {
        Some(url) => url.clone(),
        None => {
            std::fs::create_dir_all(&folder)?;
            format!("sqlite:{}", folder.join("shop.db").display())
        }
    };
    let shown = show_both(&url, kills).await;
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    shown
}

async fn show_both(url: &str, kills: u32) -> Result<(), BoxError> {
    for how in ["together", "apart"] {
        show(url, how, kills).await?;
    }
    Ok(())
}

async fn show(url: &str, how: &str, kills: u32) -> Result<(), BoxError> {
    let store = open(url).await?;
    let jobs = Jobs::open(&store).await?;
    let mut payments = Batch::new();
    for amount in 1..=PAYMENTS {
        payments.push(&Pay { amount }, Options::new().queue(how))?;
    }
    let payments = jobs.enqueue_batch(payments).await?;

    for _ in 0..kills {
        let mut worker = Command::new(std::env::current_exe()?)
            .args(["work", url, how])
            // Its warnings tell of jobs that it rescued from the one before.
            .stderr(Stdio::null())
            .spawn()?;
        clock::sleep(Duration::from_millis(100 + rng::bits() % 200)).await;
        worker.kill()?;
        worker.wait()?;
    }
    let worker = work(url, how).await?;
    for id in &payments {
        while !jobs
            .find(*id)
            .await?
            .is_some_and(|job| job.info.state.is_terminal())
        {
            clock::sleep(Duration::from_millis(20)).await;
        }
    }
    worker.stop(Duration::from_secs(5)).await;

    // Ids only grow: these are the payments of this time.
    let first = i64::try_from(payments[0].get())?;
    let sum = match store.dialect() {
        Dialect::Sqlite => "SELECT count(*), sum(amount) FROM settlement_ledger WHERE job >= ?1",
        Dialect::Postgres => {
            "SELECT count(*), sum(amount)::bigint FROM settlement_ledger WHERE job >= $1"
        }
    };
    let ledger: Result<Rows, Error> = store
        .read(async |mut tx| tx.sql(sum, binds![first]).await)
        .await;
    let ledger = ledger?;
    let (entries, sum): (i64, i64) = (ledger.one()?.get(0)?, ledger.one()?.get(1)?);
    let right = PAYMENTS * (PAYMENTS + 1) / 2;
    println!(
        "effect and end {how}: {PAYMENTS} payments, {kills} kills, {entries} entries, {sum} paid of {right}"
    );
    store.close().await;
    Ok(())
}

async fn open(url: &str) -> Result<Store, BoxError> {
    let store = Store::open(Config::parse(url)?).await?;
    let table = "CREATE TABLE IF NOT EXISTS settlement_ledger (job BIGINT, amount BIGINT)";
    let made: Result<Rows, Error> = store
        .write(async |mut tx| tx.sql(table, binds![]).await)
        .await;
    made?;
    Ok(store)
}

async fn work(url: &str, how: &str) -> Result<Running, BoxError> {
    let store = open(url).await?;
    let jobs = Jobs::open(&store).await?;
    let together = how == "together";
    let kind = Kind::new(move |run: Run, payment: Pay| {
        let store = store.clone();
        async move {
            let mut tx = store.begin().await?;
            let entry = binds![i64::try_from(run.id().get())?, payment.amount];
            let insert = match store.dialect() {
                Dialect::Sqlite => "INSERT INTO settlement_ledger VALUES (?1, ?2)",
                Dialect::Postgres => "INSERT INTO settlement_ledger VALUES ($1, $2)",
            };
            tx.sql(insert, entry).await?;
            if together {
                run.complete_in(tx, &()).await?;
            } else {
                tx.commit().await?;
                // Whatever else a handler does before it returns.
                clock::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        }
    });
    // A few at once, so that there is something left for every worker.
    Ok(Worker::builder(&jobs)
        .queue(how, 4)
        .kind(kind)
        .build()?
        .start())
}
