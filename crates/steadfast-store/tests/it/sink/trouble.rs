use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::{Connection, PgConnection};
use steadfast_core::batch::BatchWriter;
use steadfast_store::sink::Form;
use steadfast_store::testing::{Cluster, Database, Kind as Place, Stop};
use steadfast_store::{Config, Fault, Faults, Store, on_every_store};

use super::*;

async fn make(store: &Store) {
    let text = "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL CONSTRAINT short CHECK (length(name) < 20))";
    run(store, text).await;
}

on_every_store! {
    async fn one_bad_row_is_found_in_few_transactions_and_told_with_its_reason(database) {
        let store = database.open().await;
        make(&store).await;
        for (round, bad) in [0_i64, 77, 199].into_iter().enumerate() {
            let config = of_rows("poison", 2_000);
            let writer = BatchWriter::builder(config, sink(&store, items().keep_dead())).start().unwrap();
            let first = round as i64 * 200;
            let rows = (0..200).map(|at| {
                let mut row = item(first + at);
                if at == bad {
                    row.name = "much longer than it may be".into();
                }
                row
            });

            let answers = answers(send(&writer, rows).await).await;

            for (at, answer) in answers.iter().enumerate() {
                assert_eq!(answer.is_err(), at as i64 == bad, "row {at}");
            }
            let reason = answers[bad as usize].as_ref().unwrap_err().to_string();
            let dead = answers[bad as usize].as_ref().unwrap_err().dead().unwrap().to_string();
            assert!(dead.contains("short"), "{reason}: {dead}");
            let stats = writer.stats();
            let transactions = stats.batches + stats.failed.iter().sum::<u64>();
            // One for all of them, and 2·⌈log₂(200)⌉ more.
            assert!(transactions <= 1 + 16, "{transactions} transactions");
            let last = "SELECT count(*) FROM item";
            assert_eq!(number(&store, last).await, (round as i64 + 1) * 199);
        }
        let table = match store.dialect() {
            steadfast_store::Dialect::Sqlite => "SELECT target, reason, document FROM steadfast_batch_dead ORDER BY id",
            steadfast_store::Dialect::Postgres => "SELECT target, reason, document FROM steadfast.batch_dead ORDER BY id",
        };
        let dead = store.read(async |mut tx| tx.sql(table, binds![]).await).await.unwrap();
        assert_eq!(dead.len(), 3);
        let row = dead.first().unwrap();
        assert_eq!(row.get::<&str>(0).unwrap(), "item");
        assert!(row.get::<&str>(1).unwrap().starts_with("row cannot be written: "));
        assert_eq!(
            row.get::<&str>(2).unwrap(),
            "{\"id\":0,\"name\":\"much longer than it may be\"}"
        );
    }

    async fn rows_that_no_database_takes_cost_no_transaction(database) {
        let store = database.open().await;
        run(&store, "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL)").await;
        let table = items().keep_dead();
        let writer = BatchWriter::builder(of_rows("odd", 2_000), sink(&store, table)).start().unwrap();
        let mut rows: Vec<_> = (0..100).map(item).collect();
        rows[10].name = "nul \0 inside".into();
        rows[20].name = "x".repeat(10 << 20);

        let answers = answers(send(&writer, rows).await).await;

        let dead = |at: usize| answers[at].as_ref().unwrap_err().dead().unwrap().to_string();
        assert_eq!(
            dead(10),
            "row cannot be written: column \"name\" has a NUL byte at 4, which no text can have"
        );
        assert_eq!(
            dead(20),
            "row cannot be written: the row has 10485768 bytes, but the limit is 8388608"
        );
        assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 2);
        assert_eq!(number(&store, "SELECT count(*) FROM item").await, 98);
        assert_eq!(writer.stats().batches, 1, "the other rows went together");
    }

    async fn a_row_whose_values_panic_is_given_up_alone_without_a_search(database) {
        steadfast_core::panic::install_quiet();
        let store = database.open().await;
        run(&store, "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL)").await;
        let sink = TableSink::new(&store, items().keep_dead(), |item: &Item| {
            assert!(item.id != 77, "no values");
            binds![item.id, item.name.clone()]
        });
        let writer = BatchWriter::builder(of_rows("panics", 2_000), sink.unwrap()).start().unwrap();

        let answers = answers(send(&writer, (0..200).map(item)).await).await;

        for (at, answer) in answers.iter().enumerate() {
            assert_eq!(answer.is_err(), at == 77, "row {at}");
        }
        let stats = writer.stats();
        assert_eq!((stats.batches, stats.failed), (1, [1, 0, 0, 0, 0]));
        let dead = match store.dialect() {
            steadfast_store::Dialect::Sqlite => "SELECT count(*) FROM steadfast_batch_dead WHERE reason LIKE '%panicked%'",
            steadfast_store::Dialect::Postgres => "SELECT count(*) FROM steadfast.batch_dead WHERE reason LIKE '%panicked%'",
        };
        assert_eq!(number(&store, dead).await, 1);
    }

    async fn when_the_values_of_row_after_row_panic_the_others_wait_until_they_can_be_had(database) {
        steadfast_core::panic::install_quiet();
        let store = database.open().await;
        run(&store, "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL)").await;
        let works = Arc::new(AtomicBool::new(false));
        let asked = works.clone();
        let sink = TableSink::new(&store, items(), move |item: &Item| {
            assert!(asked.load(Ordering::Relaxed), "the lock is poisoned");
            binds![item.id, item.name.clone()]
        });
        let config = of_rows("panics", 2_000);
        let bad_max = config.bad_max as usize;
        let writer = BatchWriter::builder(config, sink.unwrap()).start().unwrap();
        let receipts = send(&writer, (0..200).map(item)).await;
        until("it is broken", async || writer.stats().is_broken).await;

        works.store(true, Ordering::Relaxed);

        let answers = answers(receipts).await;
        let dead = answers.iter().filter(|answer| answer.is_err()).count();
        assert!((1..=bad_max).contains(&dead), "{dead} are given up");
    }

    async fn large_rows_that_are_let_through_are_written(database) {
        let store = database.open().await;
        run(&store, "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL)").await;
        let sink = sink(&store, items().row_bytes_max(16 << 20));
        let size = sink.clone();
        let writer = BatchWriter::builder(of_rows("large", 2_000), sink)
            .sized(move |row| size.bytes(row))
            .start()
            .unwrap();
        let mut rows: Vec<_> = (0..3).map(item).collect();
        rows[1].name = "x".repeat(10 << 20);

        all(send(&writer, rows).await).await;

        assert_eq!(number(&store, "SELECT max(length(name)) FROM item").await, 10 << 20);
        assert_eq!(writer.stats().batches, 3, "it went alone");
    }
}

/// A table whose rows know how often they were written.
async fn counted(store: &Store) {
    let text = "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL, count BIGINT NOT NULL DEFAULT 1)";
    run(store, text).await;
}

/// Who waits for a lock, as the server sees it.
async fn waiters(conn: &mut PgConnection) -> i64 {
    let text = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let row: (i64,) = sqlx::query_as(text).fetch_one(conn).await.unwrap();
    row.0
}

async fn execute(conn: &mut PgConnection, text: &'static str) {
    sqlx::raw_sql(text).execute(conn).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_tried_again_and_no_row_is_blamed() {
    // Of its own: who is a victim is for the administrator to say.
    let cluster = tokio::task::block_in_place(Cluster::start);
    let url = cluster.url("postgres");
    let store = Store::open(Config::postgres(&url)).await.unwrap();
    make(&store).await;
    run(&store, "INSERT INTO item VALUES (1, 'old'), (2, 'old')").await;
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut watch = PgConnection::connect(&url).await.unwrap();
    // So that it is ours which finds the deadlock, and is rolled back.
    execute(
        &mut other,
        "SET deadlock_timeout = '1h'; BEGIN; UPDATE item SET name = 'other' WHERE id = 2",
    )
    .await;
    let writer = BatchWriter::builder(
        of_rows("deadlock", 200),
        sink(&store, items().upsert(["id"])),
    );
    let writer = writer.start().unwrap();

    let receipts = send(&writer, [item(1), item(2)]).await;
    until("ours waits for row 2", async || {
        waiters(&mut watch).await == 1
    })
    .await;
    execute(&mut other, "UPDATE item SET name = 'other' WHERE id = 1").await;
    execute(&mut other, "COMMIT").await;
    all(receipts).await;

    let stats = writer.stats();
    assert_eq!((stats.written, stats.dead), (2, 0));
    assert!(stats.failed[1] >= 1, "{stats:?}");
    assert_eq!(
        number(&store, "SELECT count(*) FROM item WHERE name LIKE 'item%'").await,
        2
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serialization_failures_are_tried_again_and_no_row_is_blamed() {
    let database = Database::make(Place::Postgres).await;
    let store = database.open().await;
    make(&store).await;
    // The first three times it says what a serializable transaction says.
    run(&store, "CREATE SEQUENCE tries").await;
    run(
        &store,
        "CREATE FUNCTION unlucky() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('tries') <= 3 THEN
                RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001';
            END IF;
            RETURN NULL;
        END $$",
    )
    .await;
    run(
        &store,
        "CREATE TRIGGER unlucky AFTER INSERT ON item EXECUTE FUNCTION unlucky()",
    )
    .await;
    let writer = BatchWriter::builder(of_rows("unlucky", 200), sink(&store, items()))
        .start()
        .unwrap();

    all(send(&writer, (0..10).map(item)).await).await;

    let stats = writer.stats();
    assert_eq!(
        (stats.written, stats.dead, stats.failed),
        (10, 0, [0, 3, 0, 0, 0])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_is_slow_makes_batches_small_and_no_row_is_given_up() {
    let database = Database::make(Place::Postgres).await;
    let config = Config {
        statement_timeout: Duration::from_secs(1),
        ..database.config()
    };
    let store = database.open_with(config).await;
    make(&store).await;
    run(
        &store,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.03); RETURN NEW; END $$",
    )
    .await;
    run(
        &store,
        "CREATE TRIGGER slow BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    .await;
    // The first batch would take six seconds.
    let writer = BatchWriter::builder(of_rows("slow", 2_000), sink(&store, items()))
        .start()
        .unwrap();

    all(send(&writer, (0..200).map(item)).await).await;

    let stats = writer.stats();
    assert_eq!((stats.written, stats.dead), (200, 0));
    assert!(
        stats.failed[4] >= 1,
        "the first was over its time: {stats:?}"
    );
    // A row takes 30 ms, so that there are two in 50. What the server just lets through, 25 and more, is far too many.
    assert!(stats.rows_limit < 20, "{stats:?}");
}

/// A server that fails over: it becomes read-only, is gone, and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_costs_no_row_and_writes_none_twice() {
    // What is committed must be in the log: others of our servers answer before.
    let start = || Cluster::start_with(&["synchronous_commit = on"]);
    let cluster = tokio::task::block_in_place(start);
    let store = Store::open(Config::postgres(cluster.url("postgres")))
        .await
        .unwrap();
    // Without a key, so that a row that is written twice is there twice.
    run(
        &store,
        "CREATE TABLE item (id BIGINT NOT NULL, name TEXT NOT NULL)",
    )
    .await;
    let mut config = of_rows("failover", 200);
    config.linger = Duration::from_millis(1);
    let writer = BatchWriter::builder(config, sink(&store, items().once()))
        .start()
        .unwrap();
    let rows = i64::from(scaled(2_000, 200_000));
    let sender = spawn("sender", {
        let writer = writer.clone();
        async move {
            let mut receipts = Vec::new();
            for id in 0..rows {
                receipts.push(writer.send(item(id)).await.unwrap());
                // So that it is still at it when the server goes.
                if id % 20 == 0 {
                    clock::sleep(Duration::from_millis(10)).await;
                }
            }
            all(receipts).await;
        }
    });
    let failures = |reason: usize| writer.stats().failed[reason];

    until("some are written", async || writer.stats().written > 100).await;
    let mut admin = PgConnection::connect(&cluster.url("postgres"))
        .await
        .unwrap();
    execute(
        &mut admin,
        "ALTER SYSTEM SET default_transaction_read_only = on",
    )
    .await;
    execute(&mut admin, "SELECT pg_reload_conf()").await;
    until("it is told that the server is read-only", async || {
        failures(2) >= 2
    })
    .await;
    execute(&mut admin, "SET default_transaction_read_only = off").await;
    execute(
        &mut admin,
        "ALTER SYSTEM RESET default_transaction_read_only",
    )
    .await;
    execute(&mut admin, "SELECT pg_reload_conf()").await;
    let written = writer.stats().written;
    until("it writes again", async || {
        writer.stats().written > written || sender.is_finished()
    })
    .await;

    let before = failures(2);
    tokio::task::block_in_place(|| cluster.stop(Stop::Immediate));
    until("it notices, or has nothing more to write", async || {
        failures(2) > before || sender.is_finished()
    })
    .await;
    tokio::task::block_in_place(|| cluster.start_again());
    sender.await.unwrap();

    assert_eq!(number(&store, "SELECT count(*) FROM item").await, rows);
    assert_eq!(
        number(&store, "SELECT count(DISTINCT id) FROM item").await,
        rows
    );
    let stats = writer.stats();
    assert_eq!((stats.written, stats.dead), (rows as u64, 0));
}

/// A server that is gone after the commit and before the answer to it, three times over: what has neither key nor mark is
/// there twice, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_counts_once_by_a_mark_or_a_key_and_twice_without() {
    // Who asks for it waits, once committed, for a standby that never comes.
    let start = || {
        Cluster::start_with(&[
            "synchronous_commit = local",
            "synchronous_standby_names = 'nobody'",
        ])
    };
    let cluster = tokio::task::block_in_place(start);
    let store = Store::open(Config::postgres(cluster.url("postgres")))
        .await
        .unwrap();
    run(&store, "CREATE TABLE doubt (it INT)").await;
    run(
        &store,
        "CREATE FUNCTION doubted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF EXISTS (SELECT FROM doubt) THEN
                PERFORM set_config('synchronous_commit', 'on', true);
            END IF;
            RETURN NULL;
        END $$",
    )
    .await;
    let check = async |table: Table, columns: &'static str, times: i64| {
        run(&store, columns).await;
        let doubted = "CREATE TRIGGER doubted AFTER INSERT ON item EXECUTE FUNCTION doubted()";
        run(&store, doubted).await;
        run(&store, "INSERT INTO doubt VALUES (1)").await;
        let writer = BatchWriter::builder(of_rows("in doubt", 200), sink(&store, table))
            .start()
            .unwrap();
        let mut admin = PgConnection::connect(&cluster.url("postgres"))
            .await
            .unwrap();

        // Fewer than a batch has at first, so that they are one.
        let receipts = send(&writer, (0..10).map(item)).await;
        until("it is committed, and nobody is told", async || {
            let text = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            let row: (i64,) = sqlx::query_as(text).fetch_one(&mut admin).await.unwrap();
            row.0 == 1
        })
        .await;
        execute(&mut admin, "DELETE FROM doubt").await;
        tokio::task::block_in_place(|| {
            cluster.stop(Stop::Immediate);
            cluster.start_again();
        });
        all(receipts).await;

        let rows = number(&store, "SELECT count(*) FROM item").await;
        let different = number(&store, "SELECT count(DISTINCT id) FROM item").await;
        assert_eq!((rows, different), (10 * times, 10));
        let stats = writer.stats();
        assert_eq!((stats.written, stats.dead), (10, 0));
        assert!(stats.failed.iter().sum::<u64>() >= 1, "{stats:?}");
        run(&store, "DROP TABLE item").await;
    };
    let loose = "CREATE TABLE item (id BIGINT NOT NULL, name TEXT NOT NULL)";
    let keyed = "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL)";

    check(items().at_least_once(), loose, 2).await;
    check(items(), loose, 1).await;
    // Its own rows are none that are there already.
    check(items(), keyed, 1).await;
    check(items().insert_missing(["id"]), keyed, 1).await;
}

/// The answer to a commit is lost, and the server which is reached then cannot write for a while: its table has another name,
/// or each statement takes longer than it may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_in_doubt_counts_once_also_when_nothing_can_be_written_meanwhile() {
    let database = Database::make(Place::Postgres).await;
    let faults = Faults::new();
    let config = Config {
        faults: faults.clone(),
        statement_timeout: Duration::from_secs(3),
        ..database.config()
    };
    let store = database.open_with(config).await;
    counted(&store).await;
    run(
        &store,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$",
    )
    .await;
    let table = items().upsert_with(["id"], "count = item.count + 1");
    let mut admin = PgConnection::connect(&database.direct_url()).await.unwrap();
    let troubles = [
        (
            3,
            "ALTER TABLE item RENAME TO away",
            "ALTER TABLE away RENAME TO item",
        ),
        (
            4,
            "CREATE TRIGGER slow BEFORE INSERT ON item EXECUTE FUNCTION slow()",
            "DROP TRIGGER slow ON item",
        ),
    ];

    for (round, (reason, begins, ends)) in troubles.into_iter().enumerate() {
        let config = of_rows("in doubt", 200);
        let writer = BatchWriter::builder(config, sink(&store, table.clone()));
        let writer = writer.start().unwrap();
        let failed = async |reason: usize| writer.stats().failed[reason] > 0;
        faults.on_name("batch", Fault::After);
        let receipts = send(&writer, (0..10).map(item)).await;
        until("the answer is lost", async || failed(2).await).await;
        execute(&mut admin, begins).await;
        faults.clear();
        until("nothing can be written", async || failed(reason).await).await;
        execute(&mut admin, ends).await;
        all(receipts).await;

        let count = number(&store, "SELECT sum(count)::bigint FROM item").await;
        assert_eq!(count, 10 * (round as i64 + 1), "{:?}", writer.stats());
    }
}

/// A trigger that raises before each statement says nothing about whether the batch is written: it comes before the mark.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_was_written_counts_once_also_when_a_trigger_raises_before_it_is_known() {
    for (form, last) in [(Form::Unnest, "batch"), (Form::Values, "commit")] {
        let database = Database::make(Place::Postgres).await;
        let faults = Faults::new();
        let config = Config {
            faults: faults.clone(),
            ..database.config()
        };
        let store = database.open_with(config).await;
        counted(&store).await;
        run(
            &store,
            "CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'closed today'; END $$",
        )
        .await;
        let mut admin = PgConnection::connect(&database.direct_url()).await.unwrap();
        let table = items().upsert_with(["id"], "count = item.count + 1");
        let writer = BatchWriter::builder(of_rows("closed", 200), sink(&store, table.form(form)));
        let writer = writer.start().unwrap();

        faults.on_name(last, Fault::After);
        let receipts = send(&writer, (0..10).map(item)).await;
        until("it is written, and the answer is lost", async || {
            let text = "SELECT count(*) FROM item";
            let row: (i64,) = sqlx::query_as(text).fetch_one(&mut admin).await.unwrap();
            row.0 == 10 && writer.stats().failed[2] > 0
        })
        .await;
        execute(
            &mut admin,
            "CREATE TRIGGER closed BEFORE INSERT ON item EXECUTE FUNCTION closed()",
        )
        .await;
        faults.clear();
        until(
            "it raises, or was not asked since its mark was seen before",
            async || {
                let stats = writer.stats();
                stats.failed[0] > 0 || stats.written > 0
            },
        )
        .await;
        execute(&mut admin, "DROP TRIGGER closed ON item").await;
        all(receipts).await;

        let count = number(&store, "SELECT sum(count)::bigint FROM item").await;
        assert_eq!(count, 10, "{form:?}: {:?}", writer.stats());
    }
}

/// The server is still at the attempt that was not answered in time, and comes to its mark after the next one has failed and
/// before the rows go another way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_comes_late_writes_nothing_once_its_batch_is_settled() {
    let database = Database::make(Place::Postgres).await;
    let config = Config {
        // It is there for as long as the test takes.
        statement_timeout: Duration::from_secs(300),
        ..database.config()
    };
    let store = database.open_with(config).await;
    counted(&store).await;
    run(&store, "CREATE SEQUENCE tries").await;
    run(
        &store,
        "CREATE FUNCTION turnstile() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            CASE nextval('tries')
                WHEN 1 THEN PERFORM pg_advisory_xact_lock_shared(1);
                WHEN 2 THEN RAISE EXCEPTION 'one at a time';
                ELSE PERFORM pg_advisory_xact_lock_shared(3);
            END CASE;
            RETURN NULL;
        END $$",
    )
    .await;
    run(
        &store,
        "CREATE TRIGGER turnstile BEFORE INSERT ON item EXECUTE FUNCTION turnstile()",
    )
    .await;
    let mut admin = PgConnection::connect(&database.direct_url()).await.unwrap();
    execute(
        &mut admin,
        "SELECT pg_advisory_lock(1), pg_advisory_lock(3)",
    )
    .await;
    let table = items().upsert_with(["id"], "count = item.count + 1");
    let mut config = of_rows("late", 200);
    config.write_timeout = Duration::from_secs(1);
    let writer = BatchWriter::builder(config, sink(&store, table));
    let writer = writer.start().unwrap();
    let others = async |admin: &mut PgConnection, lock: i64| {
        let text = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND mode = 'ShareLock'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let row: (i64,) = sqlx::query_as(text)
            .bind(lock)
            .fetch_one(admin)
            .await
            .unwrap();
        row.0
    };

    let receipts = send(&writer, (0..10).map(item)).await;
    until("the rows go another way", async || {
        others(&mut admin, 3).await > 0
    })
    .await;
    assert_eq!(others(&mut admin, 1).await, 1);
    execute(&mut admin, "SELECT pg_advisory_unlock(1)").await;
    until("the first attempt has ended", async || {
        others(&mut admin, 1).await == 0
    })
    .await;
    execute(&mut admin, "SELECT pg_advisory_unlock(3)").await;
    all(receipts).await;

    let count = number(&store, "SELECT sum(count)::bigint FROM item").await;
    assert_eq!(count, 10, "{:?}", writer.stats());
}

/// The server is at the first attempt for so long that all of them are late, and that has the mark of its writer, which was there
/// before: nobody can tell meanwhile. It ends by itself, as it was written or rolled back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_attempts_are_all_late_counts_once_however_the_first_ends() {
    late_again_and_again(Place::Postgres, true).await;
    late_again_and_again(Place::Postgres, false).await;
    late_again_and_again(Place::Pgbouncer, true).await;
}

async fn late_again_and_again(place: Place, is_written: bool) {
    let database = Database::make(place).await;
    let config = Config {
        // It is there for as long as the test takes.
        statement_timeout: Duration::from_secs(300),
        connections_max: 12,
        ..database.config()
    };
    let store = database.open_with(config).await;
    counted(&store).await;
    run(
        &store,
        "CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_advisory_xact_lock_shared(1);
            RETURN NEW;
        END $$",
    )
    .await;
    run(
        &store,
        "CREATE TRIGGER gate BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION gate()",
    )
    .await;
    let mut admin = PgConnection::connect(&database.direct_url()).await.unwrap();
    let table = items().upsert_with(["id"], "count = item.count + 1");
    let mut config = of_rows("late again", 200);
    config.write_timeout = Duration::from_secs(1);
    let writer = BatchWriter::builder(config, sink(&store, table));
    let writer = writer.start().unwrap();
    all(send(&writer, [item(-1)]).await).await;

    execute(&mut admin, "SELECT pg_advisory_lock(1)").await;
    let receipts = send(&writer, (0..10).map(item)).await;
    until("nobody can tell whether it is written", async || {
        writer.stats().unsettled.is_some()
    })
    .await;
    let stats = writer.stats();
    assert_eq!((stats.written, stats.dead, stats.queued), (1, 0, 10));
    if !is_written {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        execute(&mut admin, end).await;
    }
    execute(&mut admin, "SELECT pg_advisory_unlock(1)").await;
    all(receipts).await;

    let count = number(&store, "SELECT sum(count)::bigint FROM item WHERE id >= 0").await;
    assert_eq!(count, 10, "{place:?}: {:?}", writer.stats());
    let stats = writer.stats();
    assert_eq!((stats.written, stats.dead), (11, 0));
    assert_eq!(stats.unsettled, None);
}
