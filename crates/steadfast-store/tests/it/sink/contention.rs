use steadfast_core::batch::BatchWriter;
use steadfast_core::rng;
use steadfast_store::sink::{DatabaseLook, Replicas};
use steadfast_store::testing::{Database, Kind as Place};
use steadfast_store::{Config, Store};

use super::*;

const KEYS: u64 = 400;

/// The cap on rows: so low that batches reach it within the first few rows, and would exceed it if they could.
const CAP: u32 = 20;

/// Each transaction notes how many rows it has changed.
async fn make_counted(store: &Store) {
    run(store, "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL, hits BIGINT NOT NULL DEFAULT 1)").await;
    run(
        store,
        "CREATE TABLE audit (tx BIGINT NOT NULL, changed BIGINT NOT NULL)",
    )
    .await;
    run(
        store,
        "CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO audit SELECT txid_current(), count(*) FROM changed;
            RETURN NULL;
        END $$",
    )
    .await;
    run(
        store,
        "CREATE TRIGGER inserted AFTER INSERT ON item REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION counted()",
    )
    .await;
    run(
        store,
        "CREATE TRIGGER updated AFTER UPDATE ON item REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION counted()",
    )
    .await;
}

/// How many writers there are.
const WRITERS: usize = 8;

/// Eight writers on the same few rows: none deadlocks, no transaction has more rows than the cap, every row is
/// accounted for at every moment, each upsert counts once, and none of them starves.
async fn writers_on_hot_rows(share_a_look: bool) {
    let database = Database::make(Place::Postgres).await;
    let config = Config {
        connections_max: 12,
        // A third of it is how long a lock is waited for: never in vain, however slow the machine is.
        statement_timeout: Duration::from_secs(600),
        ..database.config()
    };
    let store = database.open_with(config).await;
    make_counted(&store).await;
    let each = scaled(1_500, 100_000);
    let table = || {
        items()
            .upsert_with(["id"], "hits = item.hits + 1, name = excluded.name")
            .once()
    };
    let shared = DatabaseLook::new(&store, Replicas::Unwatched);
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let mut config = BatchConfig::new("hot");
            config.queue_max = 512;
            config.size.rows_max = CAP;
            let look = match share_a_look {
                true => shared.clone(),
                false => DatabaseLook::new(&store, Replicas::Unwatched),
            };
            BatchWriter::builder(config, sink(&store, table()))
                .looking(look)
                .start()
                .unwrap()
        })
        .collect();
    let senders: Vec<_> = writers
        .iter()
        .map(|writer| {
            let writer = writer.clone();
            spawn("sender", async move {
                let mut receipts = Vec::new();
                for sent in 1..=each {
                    let row = item((rng::bits() % KEYS) as i64);
                    receipts.push(writer.send(row).await.unwrap());
                    // What is flushed is more than one batch, and none of them is larger for it.
                    if sent % 200 == 0 {
                        let writer = writer.clone();
                        drop(spawn("flush", async move { writer.flush().await }));
                    }
                }
                all(receipts).await;
            })
        })
        .collect();

    let mut when_the_first_was_done = None;
    while !senders.iter().all(|sender| sender.is_finished()) {
        let stats: Vec<_> = writers.iter().map(BatchWriter::stats).collect();
        stats.iter().for_each(assert_accounted);
        let written: Vec<_> = stats.iter().map(|stats| stats.written).collect();
        if written.contains(&u64::from(each)) {
            when_the_first_was_done.get_or_insert(written);
        }
        clock::sleep(Duration::from_millis(5)).await;
    }
    for sender in senders {
        sender.await.unwrap();
    }

    let all = i64::from(WRITERS as u32 * each);
    assert_eq!(
        number(&store, "SELECT sum(hits)::bigint FROM item").await,
        all
    );
    let largest = "SELECT max(changed)::bigint FROM (SELECT sum(changed) AS changed FROM audit GROUP BY tx) t";
    let largest = number(&store, largest).await;
    assert!(
        (1..=i64::from(CAP)).contains(&largest),
        "{largest} rows in one transaction"
    );
    for writer in &writers {
        let stats = writer.stats();
        assert_eq!((stats.written, stats.dead), (each.into(), 0));
        assert_eq!(
            stats.failed[1], 0,
            "nobody was in the way of another: {stats:?}"
        );
    }
    // Who comes first writes first, so those who take turns have about as much.
    if let Some(written) = when_the_first_was_done.filter(|_| share_a_look) {
        let least = written.iter().min().unwrap();
        assert!(*least > u64::from(each) / 4, "{written:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_hot_rows_stay_below_the_cap_and_do_not_deadlock() {
    writers_on_hot_rows(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_hot_rows_that_share_a_look_do_so_and_none_starves() {
    writers_on_hot_rows(true).await;
}

/// The keys of two writers cross in every batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_with_crossing_keys_do_not_deadlock() {
    let database = Database::make(Place::Postgres).await;
    let config = Config {
        statement_timeout: Duration::from_secs(600),
        ..database.config()
    };
    let store = database.open_with(config).await;
    run(
        &store,
        "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL)",
    )
    .await;
    // So that the second surely comes while the first is at it.
    run(
        &store,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END $$",
    )
    .await;
    run(
        &store,
        "CREATE TRIGGER slow BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    .await;
    run(
        &store,
        "INSERT INTO item SELECT i, '' FROM generate_series(0, 19) i",
    )
    .await;
    let writers = [0, 1].map(|_| {
        let sink = sink(&store, items().upsert(["id"]));
        BatchWriter::builder(of_rows("crossing", 200), sink)
            .start()
            .unwrap()
    });

    for _ in 0..scaled(10, 1_000) {
        let up = send(&writers[0], (0..20).map(item)).await;
        let down = send(&writers[1], (0..20).rev().map(item)).await;
        tokio::join!(writers[0].flush(), writers[1].flush());
        all(up).await;
        all(down).await;
    }

    for writer in &writers {
        let stats = writer.stats();
        assert_eq!(stats.failed, [0; 5], "{stats:?}");
    }
}

/// A commit takes 80 ms, whatever its rows are, as to another region: longer than the target, at any size.
async fn make_far(store: &Store) {
    run(
        store,
        "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL)",
    )
    .await;
    run(
        store,
        "CREATE FUNCTION commits_far_away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF current_setting('test.committed', true) IS DISTINCT FROM txid_current()::text THEN
                PERFORM set_config('test.committed', txid_current()::text, true), pg_sleep(0.08);
            END IF;
            RETURN NULL;
        END $$",
    )
    .await;
    // Of the rows of a transaction the first one waits, at the commit.
    run(
        store,
        "CREATE CONSTRAINT TRIGGER far AFTER INSERT ON item DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION commits_far_away()",
    )
    .await;
}

/// Four writers whose commits take longer than their target neither shrink to a row nor write one after the other, since
/// neither would help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_commits_make_batches_neither_smaller_nor_fewer() {
    const WRITERS: i64 = 4;
    const BATCHES: u64 = 40;
    let database = Database::make(Place::Postgres).await;
    let config = Config {
        connections_max: 12,
        ..database.config()
    };
    let store = database.open_with(config).await;
    make_far(&store).await;
    let look = DatabaseLook::new(&store, Replicas::Unwatched);
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            BatchWriter::builder(BatchConfig::new("far"), sink(&store, items()))
                .looking(look.clone())
                .start()
                .unwrap()
        })
        .collect();
    let written = |batches: u64| {
        let stats: Vec<_> = writers.iter().map(BatchWriter::stats).collect();
        let are_done = stats.iter().all(|stats| stats.batches >= batches);
        are_done
            .then(|| stats.iter().map(|stats| (stats.batches, stats.written)))
            .map(|each| each.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1)))
    };
    let senders: Vec<_> = writers
        .iter()
        .zip(0..)
        .map(|(writer, number)| {
            let writer = writer.clone();
            spawn("sender", async move {
                let mut id = number;
                while writer.send(item(id)).await.is_ok() {
                    id += WRITERS;
                }
            })
        })
        .collect();

    let mut before = None;
    let mut at_once = 0;
    let after = loop {
        before = before.or_else(|| written(BATCHES / 2));
        if before.is_some() {
            let sleeping = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event = 'PgSleep'";
            at_once = at_once.max(number(&store, sleeping).await);
        }
        if let Some(after) = written(BATCHES) {
            break after;
        }
        clock::sleep(Duration::from_millis(7)).await;
    };
    let stats: Vec<_> = writers.iter().map(BatchWriter::stats).collect();
    for writer in &writers {
        writer.drain(clock::now()).await;
    }
    for sender in senders {
        sender.await.unwrap();
    }

    let before = before.unwrap();
    let rows = (after.1 - before.1) / (after.0 - before.0);
    assert!(rows >= 100, "{rows} rows a batch: {stats:?}");
    assert!(at_once >= 3, "{at_once} of four at once: {stats:?}");
}
