//! Batches into tables: real servers, real trouble.
//!
//! What takes long is here in a short form; `STEADFAST_TEST_LONG=1 cargo test --release -p steadfast-store --all-features
//! --test it sink::` runs the long one.

mod contention;
mod forms;
mod kill;
mod measure;
mod replica;
mod trouble;

use std::time::Duration;

use steadfast_core::batch::{BatchConfig, BatchStats, BatchWriter, NotWritten, Receipt};
use steadfast_core::decide::batch::SizeConfig;
use steadfast_core::{clock, spawn};
use steadfast_store::sink::{Table, TableSink};
use steadfast_store::{Kind, Store, binds};

pub(crate) use kill::write_until_killed;

/// Takes the long form of a number where the long run was asked for.
fn scaled(short: u32, long: u32) -> u32 {
    match std::env::var_os("STEADFAST_TEST_LONG") {
        Some(_) => long,
        None => short,
    }
}

/// A row of the table `item`.
#[derive(Debug, Clone, PartialEq)]
struct Item {
    id: i64,
    name: String,
}

fn item(id: i64) -> Item {
    Item {
        id,
        name: format!("item {id}"),
    }
}

fn items() -> Table {
    Table::new("item")
        .column("id", Kind::I64)
        .column("name", Kind::Text)
}

fn sink(store: &Store, table: Table) -> TableSink<Item> {
    TableSink::new(store, table, |item: &Item| {
        binds![item.id, item.name.clone()]
    })
    .unwrap()
}

/// Begins with batches of as many rows.
fn of_rows(name: &'static str, rows: u32) -> BatchConfig {
    let mut config = BatchConfig::new(name);
    config.size = SizeConfig {
        rows_max: rows,
        ..SizeConfig::default()
    };
    // So that what is sent together is written together, however slow the test is: `send` flushes.
    config.linger = BatchConfig::LINGER_LIMIT;
    config
}

async fn run(store: &Store, text: &'static str) {
    let ran = store.write(async |mut tx| tx.sql(text, binds![]).await);
    ran.await.unwrap();
}

async fn number(store: &Store, text: &'static str) -> i64 {
    let rows = store.read(async |mut tx| tx.sql(text, binds![]).await);
    rows.await.unwrap().one().unwrap().get(0).unwrap()
}

async fn send<T: Send + Sync + 'static>(
    writer: &BatchWriter<T>,
    rows: impl IntoIterator<Item = T>,
) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for row in rows {
        receipts.push(writer.send(row).await.unwrap());
    }
    let writer = writer.clone();
    drop(spawn("flush", async move { writer.flush().await }));
    receipts
}

/// Waits for all answers, the first of which and each next one come sooner or later.
async fn answers(receipts: Vec<Receipt>) -> Vec<Result<(), NotWritten>> {
    let mut answers = Vec::new();
    for receipt in receipts {
        let answer = clock::timeout(Duration::from_secs(120), receipt).await;
        answers.push(answer.expect("a row is answered for"));
    }
    answers
}

async fn all(receipts: Vec<Receipt>) {
    for answer in answers(receipts).await {
        answer.unwrap();
    }
}

/// Waits until something is so.
async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let patience = async {
        while !is().await {
            clock::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = clock::timeout(Duration::from_secs(120), patience).await;
    assert!(in_time.is_ok(), "waited in vain until {what}");
}

/// What was offered is somewhere, at every moment.
fn assert_accounted(stats: &BatchStats) {
    let known = stats.written + stats.dead + stats.rejected() + stats.queued + stats.left;
    assert_eq!(stats.offered, known, "{stats:?}");
}
