//! The program of `docs/guide/a-nightly-job.md`.

#![allow(clippy::print_stdout, reason = "a program that shows what happens")]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast::jobs::schedule::{Plan, Rule, Schedule, Schedules, Zone};
use steadfast::jobs::{Job, Jobs, Kind, Options, Run, Worker};
use steadfast::store::{Config, Error, Rows, Store, binds};
use steadfast::{BoxError, Shutdown, clock};

/// Settles what was ordered since the last time.
#[derive(Serialize, Deserialize)]
struct Settle {}

impl Job for Settle {
    const KIND: &'static str = "settle";
}

async fn settle(store: Store, run: Run) -> Result<(), BoxError> {
    println!("settling, attempt {}, term {}", run.attempt(), run.term());
    // Whatever takes long: asking a bank, adding up a million rows.
    clock::sleep(Duration::from_secs(20)).await;

    let mut tx = store.begin().await?;
    let entry = "INSERT INTO ledger (job) VALUES (?1)";
    tx.sql(entry, binds![run.id().to_string()]).await?;
    run.complete_in(tx, &()).await?; // entry and end of the job are one transaction
    println!("settled");
    Ok(())
}

async fn serve(shutdown: Shutdown) -> Result<(), BoxError> {
    let store = Store::open(Config::sqlite("nightly.db")).await?;
    let table = "CREATE TABLE IF NOT EXISTS ledger (job TEXT NOT NULL)";
    let made: Result<Rows, Error> = store
        .write(async |mut tx| tx.sql(table, binds![]).await)
        .await;
    made?;
    let jobs = Jobs::open(&store).await?;

    let schedules = Schedules::new(&jobs);
    let plan = Plan::builder(Rule::cron("30 2 * * *")?)
        .zone(Zone::new("Europe/Berlin")?)
        .build()?;
    let nightly = Schedule::new("settlement", plan, &Settle {}, Options::new())?;
    schedules.register(&nightly).await?; // at each start; what is the same already is left alone
    if std::env::args().any(|word| word == "--now") {
        println!("{:?}", schedules.run_now("settlement").await?);
    }

    let kind = Kind::new(move |run: Run, _: Settle| settle(store.clone(), run));
    Worker::builder(&jobs)
        .kind(kind)
        .build()?
        .run(&shutdown)
        .await;
    Ok(())
}

fn main() -> std::process::ExitCode {
    steadfast::run(serve)
}
