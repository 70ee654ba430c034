//! A batch writer, whose sink is a table in memory.

mod accounts;
mod doubt;
mod ends;
mod failures;
mod late;
mod looks;
mod order;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::batch::{
    Batch, BatchConfig, BatchId, BatchStats, BatchWriter, Look, NotWritten, Receipt, Sink,
    WriteError,
};
use steadfast_core::decide::backoff::{Backoff, Jitter};
use steadfast_core::decide::batch::{Constraint, Lag, Pressure, SizeConfig, UnknownLag};
use steadfast_core::pool::block_on;
use steadfast_core::{clock, panic, report, spawn};
use tokio::sync::{Notify, Semaphore};
use tokio::task::yield_now;

use crate::support::Events;

/// A table in memory: transactions that are committed, and orders how to fail.
#[derive(Clone, Default)]
struct Table(Arc<Inner>);

#[derive(Default)]
struct Inner {
    commits: Mutex<Vec<Vec<u32>>>,
    tried: Mutex<Vec<(BatchId, u32, usize)>>,
    dead: Mutex<Vec<u32>>,
    bad: Mutex<BTreeSet<u32>>,
    /// What the next transactions fail with.
    failures: Mutex<Vec<WriteError>>,
    broken: Mutex<bool>,
    /// What it says when it is asked whether a batch in doubt is written, the last one first.
    settles: Mutex<Vec<Result<bool, WriteError>>>,
    settled: Mutex<Vec<BatchId>>,
    took: Mutex<Duration>,
    /// When there, each transaction takes a permit.
    gate: Mutex<Option<Arc<Semaphore>>>,
    began: Notify,
}

impl Sink<u32> for Table {
    async fn write(&self, batch: Batch<'_, u32>) -> Result<(), WriteError> {
        let inner = &self.0;
        let tried = (batch.id(), batch.attempt(), batch.rows().len());
        inner.tried.lock().unwrap().push(tried);
        inner.began.notify_one();
        let took = *inner.took.lock().unwrap();
        if !took.is_zero() {
            clock::sleep(took).await;
        }
        let gate = inner.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        if *inner.broken.lock().unwrap() {
            return Err(WriteError::broken("no such table"));
        }
        if let Some(failure) = inner.failures.lock().unwrap().pop() {
            return Err(failure);
        }
        let bad = inner.bad.lock().unwrap().clone();
        if let Some(row) = batch.rows().iter().find(|row| bad.contains(row)) {
            assert!(*row != 666, "the devil's row");
            return Err(WriteError::row(format!("{row} is too long")));
        }
        inner.commits.lock().unwrap().push(batch.rows().to_vec());
        Ok(())
    }

    async fn settle(&self, id: BatchId) -> Result<bool, WriteError> {
        self.0.settled.lock().unwrap().push(id);
        self.0.settles.lock().unwrap().pop().unwrap_or(Ok(false))
    }

    async fn dead(&self, row: &u32, error: &WriteError) {
        assert!(error.is_row());
        self.0.dead.lock().unwrap().push(*row);
    }
}

impl Table {
    fn commits(&self) -> Vec<Vec<u32>> {
        self.0.commits.lock().unwrap().clone()
    }

    fn rows(&self) -> Vec<u32> {
        self.commits().concat()
    }

    fn with_bad(rows: impl IntoIterator<Item = u32>) -> Self {
        let table = Self::default();
        table.0.bad.lock().unwrap().extend(rows);
        table
    }

    fn gated() -> (Self, Arc<Semaphore>) {
        let (table, gate) = (Self::default(), Arc::new(Semaphore::new(0)));
        *table.0.gate.lock().unwrap() = Some(gate.clone());
        (table, gate)
    }

    fn fail_next(&self, failures: impl IntoIterator<Item = WriteError>) {
        let mut next: Vec<_> = failures.into_iter().collect();
        next.reverse();
        *self.0.failures.lock().unwrap() = next;
    }

    fn settles(&self, answers: impl IntoIterator<Item = Result<bool, WriteError>>) {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        *self.0.settles.lock().unwrap() = answers;
    }
}

fn config() -> BatchConfig {
    BatchConfig::new("rows")
}

/// Begins with batches of as many rows.
fn of_rows(rows: u32) -> BatchConfig {
    BatchConfig {
        size: SizeConfig {
            rows_max: rows,
            ..SizeConfig::default()
        },
        ..config()
    }
}

/// Gives up a row after so many without a written one, and tries each ten seconds.
fn of_bad_rows(bad_max: u32) -> BatchConfig {
    let wait = Duration::from_secs(10);
    BatchConfig {
        bad_max,
        backoff: Backoff::new(wait, wait).unwrap().with_jitter(Jitter::None),
        ..config()
    }
}

fn writer(config: BatchConfig, table: &Table) -> BatchWriter<u32> {
    BatchWriter::builder(config, table.clone()).start().unwrap()
}

async fn send(writer: &BatchWriter<u32>, rows: impl IntoIterator<Item = u32>) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for row in rows {
        receipts.push(writer.send(row).await.unwrap());
    }
    receipts
}

async fn all(receipts: Vec<Receipt>) {
    for receipt in receipts {
        answer(receipt).await.unwrap();
    }
}

/// Waits for an answer for a day, which a paused clock has at once.
async fn answer(receipt: Receipt) -> Result<(), NotWritten> {
    let answered = clock::timeout(Duration::from_secs(24 * 3_600), receipt).await;
    answered.expect("a row is answered for")
}

async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

fn in_time() -> clock::Instant {
    clock::now() + Duration::from_secs(60)
}

/// What a look finds, changed by the test.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Pressure>>);

impl Look for Seen {
    async fn look(&self) -> Pressure {
        *self.0.lock().unwrap()
    }
}

impl Seen {
    fn lag(&self, lag: Lag) {
        self.0.lock().unwrap().lag = lag;
    }
}

fn behind(seconds: u64) -> Lag {
    Lag::Known(Duration::from_secs(seconds))
}
