use std::collections::BTreeSet;

use sqlx::{Connection, PgConnection};
use steadfast_core::batch::BatchWriter;
use steadfast_store::testing::{Database, Kind as Place};
use steadfast_store::{Config, Store};

use super::*;
use crate::process;

/// What the process sends, in order; those that it said are committed are never gone.
const ROWS: i64 = 100_000;

/// How many it sends before it waits for their answers.
const AT_ONCE: usize = 10;

/// The part of the process that is killed: writes rows, and says which are committed.
#[allow(clippy::print_stdout, reason = "this is how it answers")]
pub(crate) async fn write_until_killed() {
    let store = Store::open(Config::parse(&std::env::var("URL").unwrap()).unwrap())
        .await
        .unwrap();
    let mut config = BatchConfig::new("killed");
    config.linger = Duration::from_millis(1);
    let writer = BatchWriter::builder(config, sink(&store, items().insert_missing(["id"])))
        .start()
        .unwrap();
    let first: i64 = std::env::var("FIRST").unwrap().parse().unwrap();
    // Fewer than a batch has at first, so that they are one.
    for id in (first..ROWS).step_by(AT_ONCE) {
        let receipts = send(&writer, (id..id + AT_ONCE as i64).map(item)).await;
        println!("sent {id}");
        all(receipts).await;
        println!("committed {id}");
    }
}

/// Killed between sending and the answer, again and again; what was not answered is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_loses_no_row_that_was_answered_and_writes_none_twice() {
    let database = Database::make(Place::Postgres).await;
    let store = database.open().await;
    run(
        &store,
        "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL)",
    )
    .await;
    let url = database.direct_url();
    let mut answered = BTreeSet::new();
    let mut first = 0;

    for round in 0..scaled(4, 100) {
        let mut child = process::start(
            "write_until_killed",
            &[("URL", &url), ("FIRST", &first.to_string())],
        );
        // Some rounds are killed right after sending, others a few batches later.
        for _ in 0..=round % 3 {
            let sent: i64 = child.says("sent ").parse().unwrap();
            if round % 2 == 0 {
                first = sent;
                continue;
            }
            let committed: i64 = child.says("committed ").parse().unwrap();
            answered.insert(committed);
            first = committed;
        }
        child.signal("KILL");
        drop(child);
        // What was not answered is sent again, and some that was.
    }
    // Before the last life sends everything again, which would hide what is gone.
    for id in &answered {
        let text = "SELECT count(*) FROM item WHERE id >= $1 AND id < $1 + $2";
        let found = store
            .read(async |mut tx| tx.sql(text, binds![*id, AT_ONCE as i64]).await)
            .await
            .unwrap();
        let found = found.one().unwrap().get::<i64>(0).unwrap();
        assert_eq!(found, AT_ONCE as i64, "{id} and the next were answered");
    }
    let writer = BatchWriter::builder(
        of_rows("last", 200),
        sink(&store, items().insert_missing(["id"])),
    );
    let writer = writer.start().unwrap();
    let sent = first + AT_ONCE as i64;
    all(send(&writer, (0..sent).map(item)).await).await;

    // None is missing up to the last that anybody has sent, and what came again was no row that cannot be written.
    let missing = "SELECT max(id) + 1 - count(*) FROM item";
    assert_eq!(number(&store, missing).await, 0);
    assert!(number(&store, "SELECT count(*) FROM item").await >= sent);
    let stats = writer.stats();
    assert_eq!((stats.written, stats.dead), (sent as u64, 0));
}

/// Killed while its batch waits for a lock: whoever sent it was told nothing, and nothing is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_answered_before_the_commit() {
    let database = Database::make(Place::Postgres).await;
    let store = database.open().await;
    run(
        &store,
        "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL)",
    )
    .await;
    let url = database.direct_url();
    let mut holder = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE item IN SHARE MODE")
        .execute(&mut holder)
        .await
        .unwrap();

    let mut child = process::start("write_until_killed", &[("URL", &url), ("FIRST", "0")]);
    child.says("sent ");
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    until("its batch waits for the table", async || {
        number(&store, waits).await == 1
    })
    .await;
    child.signal("KILL");

    let said = child.rest();
    assert!(!said.contains("committed"), "{said}");
    // The server would find out that its client is gone when it answers, which is after the commit.
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    assert_eq!(number(&store, end).await, 1);
    until("it is gone", async || number(&store, waits).await == 0).await;
    sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    assert_eq!(number(&store, "SELECT count(*) FROM item").await, 0);
}
