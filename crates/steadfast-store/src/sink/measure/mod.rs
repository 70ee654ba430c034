//! How many rows a batch should have on a database at hand: measured there.
//!
//! Several writers change the same few rows, as hot rows are changed, in batches of one size after the other; meanwhile
//! it is looked who waits for locks, and how far replicas are behind. At the end the
//! [`BatchWriter`] finds its sizes by itself, under the same conditions.
//!
//! # What it does to the database
//! By default it makes a table of its own in the schema of the store, and drops it, also when it is itself dropped
//! half-way; one that a killed process has left is dropped by a run an hour later. With [`Target::Table`] it updates rows
//! of a table of yours to the values that they have: nothing changes, but triggers run, locks are taken, and replicas
//! follow. Time, rows and connections are bounded, and it ends by itself when replicas fall too far behind.

mod chart;
mod work;

use std::fmt;
use std::time::Duration;

use steadfast_core::batch::{BatchConfig, BatchWriter};
use steadfast_core::cancel::{Cancel, Cause};
use steadfast_core::clock::{self, Instant};
use steadfast_core::decide::batch::Lag;
use steadfast_core::{rng, spawn};

use super::look::{DatabaseLook, Replicas};
use crate::{Error, Store, config};
use work::{Scratch, Work, WorkSink};

/// What is measured, and within which bounds.
#[derive(Debug, Clone)]
pub struct MeasureConfig {
    /// Which rows are written: those of a table of its own by default.
    pub target: Target,
    /// The sizes: 1, 10, 50, 100, 200, 500 and 1,000 rows by default; at most 20 of them, each up to 10,000. Those
    /// above the number of hot rows are left out.
    pub sizes: Vec<u32>,
    /// How many write at once: 8 by default, 1 to 64. The store must have a connection for each.
    pub writers: u32,
    /// How many rows they share: 2,000 by default, up to 1,000,000. The fewer, the more they are in each other's way.
    pub hot_rows: u32,
    /// How long each size is measured: 2 s by default, from 10 ms up to a minute.
    pub time_each: Duration,
    /// How many rows are written in all: 2,000,000 by default. It ends early when they are.
    pub rows_max: u64,
    /// Which replicas there should be, so that their lag is known.
    pub replicas: Replicas,
    /// How far replicas may fall behind before it ends: 10 s by default.
    pub lag_max: Duration,
}

/// Which rows are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Target {
    /// A table of its own, which is dropped at the end.
    #[default]
    Scratch,
    /// The first rows of a table of PostgreSQL with a primary key of one column. They are updated to what they are; to
    /// name the table is to agree to that, and to what its triggers do.
    Table(String),
}

/// What was measured.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Measured {
    /// Each size, in the order of the config.
    pub sizes: Vec<MeasuredSize>,
    /// The writer that finds its sizes by itself; its `rows` are the mean. Absent if it ended before.
    pub adaptive: Option<MeasuredSize>,
    /// Why it ended before all was measured.
    pub ended: Option<&'static str>,
}

/// What batches of one size did.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct MeasuredSize {
    /// Rows of a batch.
    pub rows: f64,
    /// Batches that were committed.
    pub batches: u64,
    /// How long one took, from sending to the answer to its commit.
    pub time_mean: Duration,
    /// How many waited for locks, on average.
    pub waiters_mean: f64,
    /// How many waited at once, at most.
    pub waiters_max: u32,
    /// Rows written a second, by all writers together.
    pub rows_per_second: f64,
    /// Batches that were rolled back, because another one was in the way or their time was up.
    pub conflicts: u64,
    /// How far replicas were behind at most; `None` if nobody could tell.
    pub lag_max: Option<Duration>,
}

/// How often it is looked: 20 times a second, which costs little and sees most waits.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long replicas get to catch up before the next size: 30 s.
const CATCH_UP: Duration = Duration::from_secs(30);

/// How far behind they may still be then: 200 ms, two looks of a batch writer.
const CAUGHT_UP: Duration = Duration::from_millis(200);

const ROWS_SPENT: &str = "all rows that may be written were written";
const FELL_BEHIND: &str = "replicas fell too far behind";

impl Default for MeasureConfig {
    fn default() -> Self {
        Self {
            target: Target::default(),
            sizes: vec![1, 10, 50, 100, 200, 500, 1_000],
            writers: 8,
            hot_rows: 2_000,
            time_each: Duration::from_secs(2),
            rows_max: 2_000_000,
            replicas: Replicas::default(),
            lag_max: Duration::from_secs(10),
        }
    }
}

impl MeasureConfig {
    fn check(&self, connections: usize) -> Result<(), Error> {
        let within =
            |what, value: u128, least: u128, most: u128| match (least..=most).contains(&value) {
                true => Ok(()),
                false => {
                    let problem = format!("is {value}, but must be from {least} to {most}");
                    Err(config::config(what, problem))
                }
            };
        within("sizes", self.sizes.len() as u128, 1, 20)?;
        for size in &self.sizes {
            within("sizes", u128::from(*size), 1, 10_000)?;
        }
        within("writers", self.writers.into(), 1, 64)?;
        within("hot_rows", self.hot_rows.into(), 1, 1_000_000)?;
        within("time_each_ms", self.time_each.as_millis(), 10, 60_000)?;
        if connections < self.writers as usize {
            let writers = self.writers;
            let problem = format!("is {connections}, but {writers} writers need one each");
            return Err(config::config("connections_max", problem));
        }
        Ok(())
    }
}

/// Measures batches on the database of a store.
///
/// # Errors
/// When the config is out of range, the table cannot be measured, or subscribers of a publication would stumble over a
/// table that they do not have (SF-1114, with the way out); when the database fails.
///
/// # Cancel safety
/// Dropped half-way, what was begun is rolled back, and the table of its own dropped.
pub async fn measure(store: &Store, config: &MeasureConfig) -> Result<Measured, Error> {
    config.check(store.config().connections_max)?;
    match &config.target {
        Target::Scratch => {
            let scratch = Scratch::make(store, config.hot_rows).await?;
            let run = Run::new(store, config, scratch.work());
            let measured = run.all().await;
            scratch.remove().await?;
            measured
        }
        Target::Table(name) => {
            let work = Work::of_table(store, name, config.hot_rows).await?;
            Run::new(store, config, work).all().await
        }
    }
}

struct Run<'a> {
    config: &'a MeasureConfig,
    look: DatabaseLook,
    work: Work,
}

/// What batches have done, added up.
#[derive(Debug, Clone, Copy, Default)]
struct Done {
    rows: u64,
    batches: u64,
    writing: Duration,
    conflicts: u64,
}

/// Tells writers to stop, whoever drops it.
struct Stop(Cancel);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.cancel(Cause::Dropped);
    }
}

impl<'a> Run<'a> {
    fn new(store: &'a Store, config: &'a MeasureConfig, work: Work) -> Self {
        Self {
            config,
            look: DatabaseLook::new(store, config.replicas),
            work,
        }
    }

    async fn all(&self) -> Result<Measured, Error> {
        let mut measured = Measured {
            sizes: Vec::new(),
            adaptive: None,
            ended: None,
        };
        let mut left = self.config.rows_max;
        for size in &self.config.sizes {
            if *size as usize > self.work.keys() {
                continue;
            }
            let (one, rows, fell_behind) = self.fixed(*size, left).await?;
            measured.sizes.push(one);
            left = left.saturating_sub(rows);
            if left < u64::from(self.config.writers) * u64::from(*size) {
                measured.ended = Some(ROWS_SPENT);
            } else if fell_behind || !self.caught_up().await {
                measured.ended = Some(FELL_BEHIND);
            }
            if measured.ended.is_some() {
                return Ok(measured);
            }
        }
        measured.adaptive = Some(self.adaptive(left).await);
        Ok(measured)
    }

    /// Measures one size; gives the rows that were written, and whether replicas fell behind.
    async fn fixed(&self, size: u32, left: u64) -> Result<(MeasuredSize, u64, bool), Error> {
        let each = left / u64::from(self.config.writers) / u64::from(size);
        let stop = Stop(Cancel::new());
        let began = clock::now();
        let until = began + self.config.time_each;
        let writers: Vec<_> = (0..self.config.writers)
            .map(|_| {
                spawn(
                    "measure",
                    write(self.work.clone(), size, each, until, stop.0.clone()),
                )
            })
            .collect();
        let mut seen = Watched::default();
        let are_done = || writers.iter().all(|writer| writer.is_finished());
        let fell_behind = seen
            .watch(&self.look, until, self.config.lag_max, are_done)
            .await;
        drop(stop);
        let mut done = Done::default();
        for writer in writers {
            let one = writer
                .await
                .unwrap_or_else(|lost| panic!("a writer is never aborted: {lost}"))?;
            done.rows += one.rows;
            done.batches += one.batches;
            done.writing += one.writing;
            done.conflicts += one.conflicts;
        }
        let took = clock::now().duration_since(began);
        Ok((
            seen.with(f64::from(size), done, took),
            done.rows,
            fell_behind,
        ))
    }

    /// The same rows, by writers that find their sizes themselves: one time to find them, another one counts.
    async fn adaptive(&self, left: u64) -> MeasuredSize {
        let stop = Stop(Cancel::new());
        let each = left / u64::from(self.config.writers);
        let writers: Vec<_> = (0..self.config.writers)
            .map(|_| self.writer())
            .inspect(|writer| {
                let (writer, stop) = (writer.clone(), stop.0.clone());
                let keys = self.work.keys() as u64;
                drop(spawn("measure", async move {
                    for _ in 0..each {
                        let key = (rng::bits() % keys) as u32;
                        if stop.is_cancelled() || writer.send(key).await.is_err() {
                            return;
                        }
                    }
                }));
            })
            .collect();
        let sum = || {
            writers
                .iter()
                .map(BatchWriter::stats)
                .fold(Done::default(), |sum, one| Done {
                    // Those that were folded are not written.
                    rows: sum.rows + one.written - one.folded,
                    batches: sum.batches + one.batches,
                    writing: sum.writing + one.writing,
                    conflicts: sum.conflicts + one.failed[1],
                })
        };
        clock::sleep(self.config.time_each).await;
        let (began, before) = (clock::now(), sum());
        let mut seen = Watched::default();
        seen.watch(
            &self.look,
            began + self.config.time_each,
            self.config.lag_max,
            || false,
        )
        .await;
        let patience = clock::now() + CATCH_UP;
        while sum().batches == before.batches && clock::now() < patience {
            clock::sleep(LOOK_EVERY).await;
        }
        let (took, after) = (clock::now().duration_since(began), sum());
        drop(stop);
        // Left alone, each would tell the log of rows that are lost.
        let deadline = clock::now() + CATCH_UP;
        for writer in &writers {
            writer.drain(deadline).await;
        }
        let done = Done {
            rows: after.rows - before.rows,
            batches: after.batches - before.batches,
            writing: after.writing - before.writing,
            conflicts: after.conflicts - before.conflicts,
        };
        seen.with(
            done.rows as f64 / (done.batches as f64).max(1.0),
            done,
            took,
        )
    }

    fn writer(&self) -> BatchWriter<u32> {
        let mut config = BatchConfig::new("measure");
        config.queue_max = 2_000;
        BatchWriter::builder(config, WorkSink(self.work.clone()))
            .folding(|key: &u32| *key, |_, _| ())
            .looking(self.look.clone())
            .start()
            .expect("the config is in order, and this is a runtime")
    }

    /// Waits until replicas are near again, so that one size does not pay for the one before.
    async fn caught_up(&self) -> bool {
        let until = clock::now() + CATCH_UP;
        loop {
            match self.look.once().await.map(|seen| seen.lag) {
                Ok(Lag::Known(lag)) if lag > CAUGHT_UP => {}
                Ok(Lag::AtLeast(_)) => {}
                _ => return true,
            }
            if clock::now() >= until {
                return false;
            }
            clock::sleep(LOOK_EVERY).await;
        }
    }
}

async fn write(
    work: Work,
    size: u32,
    each: u64,
    until: Instant,
    stop: Cancel,
) -> Result<Done, Error> {
    let mut done = Done::default();
    let mut picks: Vec<u32> = (0..work.keys() as u32).collect();
    // One in any case: on a busy machine the time may be over before it began.
    let is_first = |done: &Done| done.batches + done.conflicts == 0;
    while is_first(&done) || done.batches < each && clock::now() < until && !stop.is_cancelled() {
        // The first of a shuffle: other rows each time, all different, and in order.
        for at in 0..size as usize {
            let other = at + (rng::bits() % (picks.len() - at) as u64) as usize;
            picks.swap(at, other);
        }
        let mut some = picks[..size as usize].to_vec();
        some.sort_unstable();
        let began = clock::now();
        match work.write(&some).await {
            Ok(()) => {
                done.batches += 1;
                done.rows += u64::from(size);
                done.writing += clock::now().duration_since(began);
            }
            Err(error) if error.is_conflict() || error.is_time_limit() => done.conflicts += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// What was seen meanwhile.
#[derive(Default)]
struct Watched {
    looks: u32,
    waiters: u64,
    waiters_max: u32,
    lag: Option<Duration>,
}

impl Watched {
    /// Looks until then, or until all are done; `true` if replicas were over the limit before.
    async fn watch(
        &mut self,
        look: &DatabaseLook,
        until: Instant,
        lag_max: Duration,
        are_done: impl Fn() -> bool,
    ) -> bool {
        loop {
            let next = (clock::now() + LOOK_EVERY).min(until);
            if let Ok(seen) = look.once().await {
                let waiters = seen.waiters.unwrap_or(0);
                self.looks += 1;
                self.waiters += u64::from(waiters);
                self.waiters_max = self.waiters_max.max(waiters);
                if let Lag::Known(lag) | Lag::AtLeast(lag) = seen.lag {
                    self.lag = self.lag.max(Some(lag));
                    if lag > lag_max {
                        return true;
                    }
                }
            }
            if are_done() || clock::now() >= until {
                return false;
            }
            clock::sleep_until(next).await;
        }
    }

    fn with(&self, rows: f64, done: Done, took: Duration) -> MeasuredSize {
        MeasuredSize {
            rows,
            batches: done.batches,
            time_mean: done.writing.div_f64((done.batches as f64).max(1.0)),
            waiters_mean: self.waiters as f64 / f64::from(self.looks.max(1)),
            waiters_max: self.waiters_max,
            rows_per_second: done.rows as f64 / took.as_secs_f64().max(1e-9),
            conflicts: done.conflicts,
            lag_max: self.lag,
        }
    }
}

impl Measured {
    /// Gives the size that wrote most of those that hurt nobody: in 50 ms or less, and with two or fewer waiting on
    /// average. `None` if none is so.
    pub fn advised(&self) -> Option<&MeasuredSize> {
        let gentle = |one: &&MeasuredSize| {
            one.batches > 0 && one.time_mean <= Duration::from_millis(50) && one.waiters_mean <= 2.0
        };
        let gentle = self.sizes.iter().filter(gentle);
        gentle.max_by(|one, other| one.rows_per_second.total_cmp(&other.rows_per_second))
    }
}

/// The table, for a terminal.
impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        chart::text(self, f)
    }
}
