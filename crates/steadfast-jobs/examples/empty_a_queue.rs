//! Enqueues jobs that do nothing, empties the queue with one worker of default settings, and tells
//! the rates. What counts are completions in the database.
//!
//! `cargo run --release -p steadfast-jobs --features sqlite,postgres --example empty_a_queue -- [JOBS] [URL]`
//!
//! Without a URL it uses a file of SQLite in a folder of its own, which is deleted afterwards.

#![allow(clippy::print_stdout, reason = "a program that shows figures")]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::{BoxError, clock};
use steadfast_jobs::{Batch, Job, Jobs, Kind, Options, Run, Worker};
use steadfast_store::{Config, Store, binds};

#[derive(Serialize, Deserialize)]
struct Nothing {
    number: u64,
}

impl Job for Nothing {
    const KIND: &'static str = "nothing";
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments
        .next()
        .map_or(Ok(100_000), |count| count.parse())?;
    let folder = std::env::temp_dir().join(format!("empty-a-queue-{}", std::process::id()));
    let config = match arguments.next() {
        Some(url) => Config::parse(&url)?,
        None => {
            std::fs::create_dir_all(&folder)?;
            Config::sqlite(folder.join("jobs.db"))
        }
    };
    let done = empty(&Store::open(config).await?, count).await;
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    done
}

async fn empty(store: &Store, count: u64) -> Result<(), BoxError> {
    let jobs = Jobs::open(store).await?;

    let began = clock::now();
    let mut number = 0;
    while number < count {
        let mut batch = Batch::new();
        while number < count && batch.len() < 5_000 {
            batch.push(&Nothing { number }, Options::new())?;
            number += 1;
        }
        jobs.enqueue_batch(batch).await?;
    }
    tell("enqueued", count, clock::now() - began);

    let worker = Worker::builder(&jobs)
        .kind(Kind::new(async |_: Run, _: Nothing| Ok(())))
        .build()?;
    let before = completed(store).await?;
    let began = clock::now();
    let running = worker.start();
    while running.completed() < count {
        clock::sleep(Duration::from_millis(1)).await;
    }
    // The last batch is on its way into the history.
    while completed(store).await? - before < count as i64 {
        clock::sleep(Duration::from_millis(1)).await;
    }
    tell("completed", count, clock::now() - began);
    running.stop(Duration::from_secs(5)).await;
    Ok(())
}

async fn completed(store: &Store) -> Result<i64, BoxError> {
    let count = match store.dialect() {
        steadfast_store::Dialect::Sqlite => "SELECT count(*) FROM steadfast_job_history",
        steadfast_store::Dialect::Postgres => "SELECT count(*) FROM steadfast.job_history",
    };
    let rows = store
        .read(async |mut tx| tx.sql(count, binds![]).await)
        .await;
    let rows: steadfast_store::Rows = rows.map_err(|error: steadfast_store::Error| error)?;
    Ok(rows.one()?.get(0)?)
}

fn tell(what: &str, count: u64, took: Duration) {
    let rate = count as f64 / took.as_secs_f64();
    println!("{what} {count} jobs in {took:.2?}: {rate:.0} a second");
}
