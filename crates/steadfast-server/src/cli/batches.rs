//! `steadfast batches measure`: how many rows a batch should have on your database.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use steadfast::store::sink::Replicas;
use steadfast::store::sink::measure::{MeasureConfig, Target, measure};
use steadfast::store::{Config, Store};

use super::ask::print::Printer;
use super::{fail, log};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Measures how many rows a batch should have on your database.
    ///
    /// Writes to a table of its own, in the schema `steadfast`, and drops it: for as long as it runs there is load, and
    /// nothing else changes. What it prints is for a terminal, unless --json is given.
    Measure(Options),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where the database is: `postgres://…` or `sqlite:FILE`. Else DATABASE_URL of the environment says so, which others
    /// cannot read.
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// Updates the first rows of this table to what they are, instead of a table of its own: with your indexes, triggers
    /// and replicas. The triggers run.
    #[arg(long, value_name = "NAME", requires = "consent")]
    table: Option<String>,

    /// Says that rows of --table may be updated.
    #[arg(long = "update-its-rows", requires = "table")]
    consent: bool,

    /// The sizes that are tried, in rows.
    #[arg(
        long,
        value_name = "ROWS",
        value_delimiter = ',',
        default_value = "1,10,50,100,200,500,1000"
    )]
    sizes: Vec<u32>,

    /// How many write at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 8)]
    writers: u32,

    /// How many rows they share. The fewer, the more they are in each other's way.
    #[arg(long, value_name = "NUMBER", default_value_t = 2_000)]
    hot_rows: u32,

    /// How long each size is tried.
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    seconds: u64,

    /// How many replicas there are, so that their lag is measured, and the end when one falls 10 s behind.
    #[arg(long, value_name = "NUMBER")]
    replicas: Option<u32>,

    /// Prints JSON, with the version of its form, for programs.
    #[arg(long)]
    json: bool,

    /// Draws a chart into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Command {
    pub(crate) fn run(self) -> ExitCode {
        let Command::Measure(options) = self;
        log::to_stderr("warn");
        let json = options.json;
        let failed = Arc::new(Mutex::new(None));
        let to = failed.clone();
        let ended = steadfast::run(async move |_| {
            if let Err(error) = options.measure().await {
                *to.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            Ok::<_, anyhow::Error>(())
        });
        let failed = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(ended, |error| fail::tell(&error, json))
    }
}

impl Options {
    async fn measure(self) -> anyhow::Result<()> {
        let url = self.url.or_else(|| std::env::var("DATABASE_URL").ok());
        let url = url.context("which database? Give --url, or set DATABASE_URL")?;
        let config = MeasureConfig {
            target: self.table.map_or(Target::Scratch, Target::Table),
            sizes: self.sizes,
            writers: self.writers,
            hot_rows: self.hot_rows,
            time_each: Duration::from_secs(self.seconds),
            replicas: self.replicas.map_or(Replicas::Unwatched, Replicas::AtLeast),
            ..MeasureConfig::default()
        };
        let database = Config {
            connections_max: self.writers.max(1) as usize,
            application_name: "steadfast batches measure".into(),
            ..Config::parse(&url)?
        };
        let store = Store::open(database).await?;
        let measured = measure(&store, &config).await;
        store.close().await;
        let measured = measured?;
        if let Some(file) = &self.svg {
            let wrote = std::fs::write(file, measured.svg());
            wrote.with_context(|| format!("cannot write {}", file.display()))?;
        }
        let data: serde_json::Value = serde_json::from_str(&measured.json())?;
        Printer::new(self.json).print(&data, || measured.to_string());
        Ok(())
    }
}
