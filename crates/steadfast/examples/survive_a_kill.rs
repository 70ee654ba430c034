//! A job that survives `kill -9`, on the embedded store with nothing to install, or on PostgreSQL.
//!
//! `cargo run -p steadfast --features jobs,sqlite,postgres --example survive_a_kill -- [URL]`
//!
//! Without a URL, such as `postgres://postgres@localhost/shop`, it uses a file of SQLite in a folder of its own, which is
//! deleted afterwards. In PostgreSQL the tables stay.
//!
//! The program enqueues a job, starts itself a second time as a worker, and kills that one in the
//! middle of the job. A worker of the first process then takes the job over: on one host the death of
//! a process is known at once. The ledger has one entry in the end, whatever happens in between,
//! because entry and end of the job are one transaction.

#![allow(clippy::print_stdout, reason = "a program that shows what happens")]

use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast::jobs::{Job, Jobs, Kind, Options, Run, Running, State, Worker};
use steadfast::store::{Config, Dialect, Error, Rows, Store, binds};
use steadfast::{BoxError, clock};

#[derive(Serialize, Deserialize)]
struct Settle {
    amount: i64,
}

impl Job for Settle {
    const KIND: &'static str = "settle";
}

/// A queue of its own, since a database may have jobs of others.
const QUEUE: &str = "survivors";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, url] = &arguments[..]
        && role == "work"
    {
        let _worker = work(url, "second process").await?;
        return std::future::pending().await;
    }
    let folder = std::env::temp_dir().join(format!("survive-a-kill-{}", std::process::id()));
    let url = match arguments.first() {
        Some(url) => url.clone(),
        None => {
            std::fs::create_dir_all(&folder)?;
            format!("sqlite:{}", folder.join("shop.db").display())
        }
    };
    let shown = show(&url).await;
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    shown
}

async fn show(url: &str) -> Result<(), BoxError> {
    let store = open(url).await?;
    let jobs = Jobs::open(&store).await?;
    let id = jobs
        .enqueue(&Settle { amount: 4711 }, Options::new().queue(QUEUE))
        .await?;

    let mut second = Command::new(std::env::current_exe()?)
        .args(["work", url])
        .spawn()?;
    wait_for(&jobs, id, State::Running).await?;
    second.kill()?;
    second.wait()?;
    println!("killed the second process in the middle of job {id}");

    let began = clock::now();
    let worker = work(url, "first process").await?;
    wait_for(&jobs, id, State::Completed).await?;
    println!("done {:.1?} later", clock::now() - began);

    let sum = match store.dialect() {
        Dialect::Sqlite => "SELECT count(*), sum(amount) FROM survivor_ledger WHERE job = ?1",
        Dialect::Postgres => {
            "SELECT count(*), sum(amount)::bigint FROM survivor_ledger WHERE job = $1"
        }
    };
    let number = i64::try_from(id.get())?;
    let ledger: Result<Rows, Error> = store
        .read(async |mut tx| tx.sql(sum, binds![number]).await)
        .await;
    let ledger = ledger?;
    let (entries, sum): (i64, i64) = (ledger.one()?.get(0)?, ledger.one()?.get(1)?);
    println!("the ledger has {entries} entry of {sum}");
    worker.stop(Duration::from_secs(5)).await;
    store.close().await;
    Ok(())
}

async fn open(url: &str) -> Result<Store, BoxError> {
    let store = Store::open(Config::parse(url)?).await?;
    let table = "CREATE TABLE IF NOT EXISTS survivor_ledger (job BIGINT, amount BIGINT)";
    let made: Result<Rows, Error> = store
        .write(async |mut tx| tx.sql(table, binds![]).await)
        .await;
    made?;
    Ok(store)
}

async fn work(url: &str, who: &'static str) -> Result<Running, BoxError> {
    let store = open(url).await?;
    let jobs = Jobs::open(&store).await?;
    let kind = Kind::new(move |run: Run, job: Settle| {
        let store = store.clone();
        async move {
            println!("{who}: settles {}, under term {}", job.amount, run.term());
            let mut tx = store.begin().await?;
            let entry = binds![i64::try_from(run.id().get())?, job.amount];
            let insert = match store.dialect() {
                Dialect::Sqlite => "INSERT INTO survivor_ledger VALUES (?1, ?2)",
                Dialect::Postgres => "INSERT INTO survivor_ledger VALUES ($1, $2)",
            };
            tx.sql(insert, entry).await?;
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
    Ok(Worker::builder(&jobs)
        .queue(QUEUE, 1)
        .kind(kind)
        .build()?
        .start())
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
