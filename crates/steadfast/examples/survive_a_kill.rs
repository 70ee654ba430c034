//! A job that survives `kill -9`, on the embedded store, with nothing to install.
//!
//! `cargo run -p steadfast --features jobs,sqlite --example survive_a_kill`
//!
//! The program enqueues a job, starts itself a second time as a worker, and kills that one in the
//! middle of the job. A worker of the first process then takes the job over: on one host the death of
//! a process is known at once. The ledger has one entry in the end, whatever happens in between,
//! because entry and end of the job are one transaction.

#![allow(clippy::print_stdout, reason = "a program that shows what happens")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast::jobs::{Job, Jobs, Kind, Options, Run, Running, State, Worker};
use steadfast::store::{Config, Error, Rows, Store, binds};
use steadfast::{BoxError, clock};

#[derive(Serialize, Deserialize)]
struct Settle {
    amount: i64,
}

impl Job for Settle {
    const KIND: &'static str = "settle";
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    if let Some(folder) = std::env::args().nth(1) {
        let _worker = work(Path::new(&folder), "second process").await?;
        return std::future::pending().await;
    }
    let folder = std::env::temp_dir().join(format!("survive-a-kill-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let shown = show(&folder).await;
    std::fs::remove_dir_all(&folder)?;
    shown
}

async fn show(folder: &Path) -> Result<(), BoxError> {
    let store = open(folder).await?;
    let jobs = Jobs::open(&store).await?;
    let id = jobs
        .enqueue(&Settle { amount: 4711 }, Options::new())
        .await?;

    let mut second = Command::new(std::env::current_exe()?).arg(folder).spawn()?;
    wait_for(&jobs, id, State::Running).await?;
    second.kill()?;
    second.wait()?;
    println!("killed the second process in the middle of job {id}");

    let began = clock::now();
    let worker = work(folder, "first process").await?;
    wait_for(&jobs, id, State::Completed).await?;
    println!("done {:.1?} later", clock::now() - began);

    let ledger: Result<Rows, Error> = store
        .read(async |mut tx| {
            tx.sql("SELECT count(*), sum(amount) FROM ledger", binds![])
                .await
        })
        .await;
    let ledger = ledger?;
    let (entries, sum): (i64, i64) = (ledger.one()?.get(0)?, ledger.one()?.get(1)?);
    println!("the ledger has {entries} entry of {sum}");
    worker.stop(Duration::from_secs(5)).await;
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

async fn work(folder: &Path, who: &'static str) -> Result<Running, BoxError> {
    let store = open(folder).await?;
    let jobs = Jobs::open(&store).await?;
    let kind = Kind::new(move |run: Run, job: Settle| {
        let store = store.clone();
        async move {
            println!("{who}: settles {}, under term {}", job.amount, run.term());
            let mut tx = store.begin().await?;
            let entry = binds![run.id().get() as i64, job.amount];
            tx.sql("INSERT INTO ledger VALUES (?1, ?2)", entry).await?;
            if run.crashes() == 0 {
                // Half done: here it is killed. A transaction must not be held for long, so it is
                // given back while the process waits for its end.
                tx.roll_back().await?;
                std::future::pending::<()>().await;
                return Ok(());
            }
            run.complete_in(tx, &()).await?;
            Ok(())
        }
    });
    Ok(Worker::builder(&jobs).kind(kind).build()?.start())
}

async fn wait_for(jobs: &Jobs, id: steadfast::jobs::JobId, state: State) -> Result<(), BoxError> {
    loop {
        let job = jobs.find(id).await?.ok_or("the job is gone")?;
        if job.info.state == state {
            return Ok(());
        }
        clock::sleep(Duration::from_millis(10)).await;
    }
}
