//! A ledger whose worker is killed at random, again and again: it balances at the end. And beside it one that does
//! not, because effect and end of its jobs are two transactions.
//!
//! `cargo run -p steadfast --features jobs,sqlite --example settlement [KILLS]`
//!
//! The program enqueues 300 payments, starts itself as a worker, and kills that one some milliseconds later, by the
//! choice of chance; so often as it is told, 10 times unless said. Then the rest is worked off in peace. Each payment
//! is one entry in the ledger, or it is not.

#![allow(clippy::print_stdout, reason = "a program that shows what happens")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast::jobs::{Batch, Job, Jobs, Kind, Options, Run, Running, State, Worker};
use steadfast::store::{Config, Error, Rows, Store, binds};
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
    if let [folder, how] = &arguments[..] {
        let _worker = work(Path::new(folder), how == "together").await?;
        return std::future::pending().await;
    }
    let kills: u32 = arguments.first().map_or(Ok(10), |kills| kills.parse())?;
    for how in ["together", "apart"] {
        let folder = std::env::temp_dir().join(format!("settlement-{how}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let shown = show(&folder, how, kills).await;
        std::fs::remove_dir_all(&folder)?;
        shown?;
    }
    Ok(())
}

async fn show(folder: &Path, how: &str, kills: u32) -> Result<(), BoxError> {
    let store = open(folder).await?;
    let jobs = Jobs::open(&store).await?;
    let mut payments = Batch::new();
    for amount in 1..=PAYMENTS {
        payments.push(&Pay { amount }, Options::new())?;
    }
    jobs.enqueue_batch(payments).await?;

    for _ in 0..kills {
        let mut worker = Command::new(std::env::current_exe()?)
            .arg(folder)
            .arg(how)
            // Its warnings tell of jobs that it rescued from the one before.
            .stderr(Stdio::null())
            .spawn()?;
        clock::sleep(Duration::from_millis(100 + rng::bits() % 200)).await;
        worker.kill()?;
        worker.wait()?;
    }
    let worker = work(folder, how == "together").await?;
    while jobs.counts().await?.of(State::Completed) < PAYMENTS.unsigned_abs() {
        clock::sleep(Duration::from_millis(20)).await;
    }
    worker.stop(Duration::from_secs(5)).await;

    let ledger: Result<Rows, Error> = store
        .read(async |mut tx| {
            let sum = "SELECT count(*), sum(amount) FROM ledger";
            tx.sql(sum, binds![]).await
        })
        .await;
    let ledger = ledger?;
    let (entries, sum): (i64, i64) = (ledger.one()?.get(0)?, ledger.one()?.get(1)?);
    let right = PAYMENTS * (PAYMENTS + 1) / 2;
    println!(
        "effect and end {how}: {PAYMENTS} payments, {kills} kills, {entries} entries, {sum} paid of {right}"
    );
    Ok(())
}

async fn open(folder: &Path) -> Result<Store, BoxError> {
    let store = Store::open(Config::sqlite(folder.join("shop.db"))).await?;
    let table = "CREATE TABLE IF NOT EXISTS ledger (job INTEGER, amount INTEGER)";
    let made: Result<Rows, Error> = store
        .write(async |mut tx| tx.sql(table, binds![]).await)
        .await;
    made?;
    Ok(store)
}

async fn work(folder: &Path, together: bool) -> Result<Running, BoxError> {
    let store = open(folder).await?;
    let jobs = Jobs::open(&store).await?;
    let kind = Kind::new(move |run: Run, payment: Pay| {
        let store = store.clone();
        async move {
            let mut tx = store.begin().await?;
            let entry = binds![i64::try_from(run.id().get())?, payment.amount];
            tx.sql("INSERT INTO ledger VALUES (?1, ?2)", entry).await?;
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
        .queue("default", 4)
        .kind(kind)
        .build()?
        .start())
}
