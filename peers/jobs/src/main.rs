//! Jobs, measured beside a loop written by hand and beside their peers: on the same server, one after the other, in
//! one run. `./jobs-bench` at the root of the repository builds and starts it.
//!
//! # Method
//! A server of PostgreSQL of its own, with durable settings (`fsync`, `synchronous_commit` and `full_page_writes` on),
//! and for each contender a fresh database in it; for SQLite a fresh file each, WAL, `synchronous = FULL`. A contender
//! is a process that is told what to do ([`protocol`]). What counts as done is what the database has as done. Ours runs
//! with default settings; every other one with the best settings that it documents, which the table states.
//!
//! Jobs do nothing. Rates are of the whole, from the first to the last job, in one process; where a contender did not
//! end within [`EMPTY_MAX`], its rate is that of what it had done by then.

mod apalis;
mod contenders;
mod deep;
mod floor;
mod graphile;
mod ours;
mod protocol;
mod server;

use std::process::ExitCode;
use std::time::Duration;

use contenders::{Contender, On};
use protocol::Told;
use server::Server;
use steadfast::BoxError;

/// How long emptying a queue may take.
const EMPTY_MAX: Duration = Duration::from_secs(20);

/// How many jobs are enqueued one by one into an idle queue.
const PICKED_UP: u64 = 200;

struct Options {
    only: Vec<String>,
    jobs: u64,
    rows: u64,
}

impl Options {
    fn read() -> Result<Self, BoxError> {
        let mut options = Self {
            only: Vec::new(),
            jobs: 100_000,
            rows: 5_000_000,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--only" => options.only.push(value()?),
                "--jobs" => options.jobs = value()?.parse()?,
                "--rows" => options.rows = value()?.parse()?,
                other => {
                    return Err(
                        format!("{other} is no option: --only WORD, --jobs N, --rows N").into(),
                    );
                }
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| name.contains(word.as_str()))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match std::env::args().nth(1).as_deref() {
        Some("contender") => play().await,
        _ => match Options::read() {
            Ok(options) => measure(&options).await,
            Err(error) => Err(error),
        },
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jobs-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays a contender that is written in this program.
async fn play() -> Result<(), BoxError> {
    let name = std::env::args().nth(2).unwrap_or_default();
    let told = Told::read(3).ok_or("contender NAME ROLE URL COUNT")?;
    match name.as_str() {
        "ours" => ours::play(told).await,
        "floor" => floor::play(told).await,
        "graphile" => graphile::play(told).await,
        "apalis" => apalis::play(told).await,
        other => Err(format!("{other} is no contender").into()),
    }
}

async fn measure(options: &Options) -> Result<(), BoxError> {
    let server = Server::start().await?;
    println!("{}\n", server.describe().await?);
    for on in [On::Postgres, On::Sqlite] {
        compare(options, &server, on).await?;
    }
    if options.wants("depth") {
        deep::listing_and_claims(options.rows, &server).await?;
    }
    if options.wants("rescue") {
        deep::rescue(&server).await?;
    }
    if options.wants("soak") {
        deep::soak(&server).await?;
    }
    Ok(())
}

async fn compare(options: &Options, server: &Server, on: On) -> Result<(), BoxError> {
    let all: Vec<Contender> = contenders::all()
        .into_iter()
        .filter(|known| known.on == on)
        .collect();
    if !all.iter().any(|known| options.wants(known.name)) {
        return Ok(());
    }
    println!("## {on:?}: {} jobs\n", options.jobs);
    println!(
        "| | enqueue /s | empty a queue /s | pick-up p50 | p99 | settings |\n|---|--:|--:|--:|--:|---|"
    );
    let mut floor = None;
    for contender in all.iter().filter(|known| options.wants(known.name)) {
        let line = match contender.missing() {
            Some(why) => format!("| {} | | | | | left out: {why} |", contender.name),
            None => match contender.measure(server, options.jobs).await {
                Ok(measured) => {
                    if contender.name.starts_with("floor") {
                        floor = measured.emptied;
                    }
                    measured.line(contender, floor)
                }
                Err(error) => format!("| {} | | | | | failed: {error} |", contender.name),
            },
        };
        println!("{line}");
    }
    println!();
    Ok(())
}
