use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use steadfast_core::batch::BatchWriter;
use steadfast_core::decide::backoff::Backoff;
use steadfast_store::sink::{Form, Table, TableSink};
use steadfast_store::testing::{Database, Kind as Place};
use steadfast_store::{Dialect, Kind, Store, Value, binds, on_every_store};

use super::*;

/// One of each type, the second row of nulls.
#[derive(Clone)]
struct Row {
    id: i64,
    values: Option<(bool, f64, &'static str, Vec<u8>)>,
}

const TEXTS: [&str; 5] = [
    "plain",
    "",
    "a\tb\nc\\N\r\\x",
    "\u{1f980} it's \"quoted\" {1,2}",
    "null",
];

fn wide(form: Form) -> Table {
    Table::new("wide")
        .form(form)
        .column("id", Kind::I64)
        .column("truth", Kind::Bool)
        .column("ratio", Kind::F64)
        .column("words", Kind::Text)
        .column("raw", Kind::Bytes)
}

fn wide_sink(store: &Store, form: Form) -> TableSink<Row> {
    let values = |row: &Row| {
        let v = row.values.clone();
        binds![
            row.id,
            v.as_ref().map(|v| v.0),
            v.as_ref().map(|v| v.1),
            v.as_ref().map(|v| v.2.to_owned()),
            v.map(|v| v.3)
        ]
    };
    TableSink::new(store, wide(form), values).unwrap()
}

fn forms(store: &Store) -> &'static [Form] {
    match store.dialect() {
        Dialect::Postgres => &[Form::Unnest, Form::Values, Form::Copy],
        Dialect::Sqlite => &[Form::Unnest, Form::Values],
    }
}

async fn make_wide(store: &Store) {
    let text = match store.dialect() {
        Dialect::Postgres => {
            "CREATE TABLE wide (id bigint PRIMARY KEY, truth boolean, ratio double precision, words text, raw bytea)"
        }
        Dialect::Sqlite => {
            "CREATE TABLE wide (id INTEGER PRIMARY KEY, truth INTEGER, ratio REAL, words TEXT, raw BLOB) STRICT"
        }
    };
    run(store, text).await;
}

on_every_store! {
    async fn every_form_writes_every_type_as_it_is(database) {
        let store = database.open().await;
        make_wide(&store).await;
        let rows: Vec<_> = TEXTS
            .iter()
            .enumerate()
            .flat_map(|(at, text)| {
                let raw = vec![0, 255, b'\\', b'\n', at as u8];
                let values = Some((at % 2 == 0, at as f64 / 3.0, *text, raw));
                [Row { id: 2 * at as i64, values }, Row { id: 2 * at as i64 + 1, values: None }]
            })
            .collect();

        for form in forms(&store) {
            let writer = BatchWriter::builder(of_rows("forms", 2_000), wide_sink(&store, *form))
                .start()
                .unwrap();
            all(send(&writer, rows.clone()).await).await;

            let text = "SELECT id, truth, ratio, words, raw FROM wide ORDER BY id";
            let read = store.read(async |mut tx| tx.sql(text, binds![]).await).await.unwrap();
            assert_eq!(read.len(), rows.len(), "{form:?}");
            for (read, row) in read.iter().zip(&rows) {
                assert_eq!(read.get::<i64>(0).unwrap(), row.id);
                let values = &row.values;
                assert_eq!(read.get::<Option<bool>>(1).unwrap(), values.as_ref().map(|v| v.0), "{form:?}");
                assert_eq!(read.get::<Option<f64>>(2).unwrap(), values.as_ref().map(|v| v.1), "{form:?}");
                assert_eq!(read.get::<Option<&str>>(3).unwrap(), values.as_ref().map(|v| v.2), "{form:?}");
                let raw = values.as_ref().map(|v| v.3.as_slice());
                assert_eq!(read.get::<Option<&[u8]>>(4).unwrap(), raw, "{form:?}");
            }
            assert_eq!(writer.stats().batches, 1, "{form:?}");
            run(&store, "DELETE FROM wide").await;
        }
    }

    async fn a_key_that_comes_twice_in_a_batch_is_no_trouble(database) {
        let store = database.open().await;
        run(&store, "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL)").await;
        let rows = |names: [(i64, &str); 5]| names.map(|(id, name)| Item { id, name: name.into() });
        let write = async |table: Table| {
            let writer = BatchWriter::builder(of_rows("twice", 2_000), sink(&store, table)).start().unwrap();
            all(send(&writer, rows([(2, "a"), (1, "b"), (2, "c"), (1, "d"), (2, "e")])).await).await;
            assert_eq!(writer.stats().batches, 1);
            let text = "SELECT name FROM item ORDER BY id";
            let read = store.read(async |mut tx| tx.sql(text, binds![]).await).await.unwrap();
            let names: Vec<_> = read.iter().map(|row| row.get::<String>(0).unwrap()).collect();
            run(&store, "DELETE FROM item").await;
            names
        };

        for form in [Form::Unnest, Form::Values] {
            let table = || items().form(form);
            assert_eq!(write(table().upsert(["id"])).await, ["d", "e"]);
            assert_eq!(write(table().insert_missing(["id"])).await, ["b", "a"]);
            let set = "name = item.name || excluded.name";
            assert_eq!(write(table().upsert_with(["id"], set)).await, ["bd", "ace"]);
            assert_eq!(write(table().upsert_with(["id"], set).once()).await, ["bd", "ace"]);
        }
    }

    async fn more_values_than_a_statement_has_placeholders_are_several_statements(database) {
        let store = database.open().await;
        run(&store, "CREATE TABLE many (a BIGINT, b BIGINT, c BIGINT, d BIGINT, e BIGINT, f BIGINT, g BIGINT, h BIGINT, \
                     i BIGINT, j BIGINT, k BIGINT)").await;
        let names = "abcdefghijk".chars();
        let table = names.fold(Table::new("many"), |table, name| table.column(name, Kind::I64));
        let values = |row: &i64| vec![Value::I64(*row); 11];
        let sink = TableSink::new(&store, table.form(Form::Values), values).unwrap();
        // It begins with a tenth: 6,553 rows of 11 values.
        let writer = BatchWriter::builder(of_rows("many", SizeConfig::ROWS_MAX_LIMIT), sink).start().unwrap();

        all(send(&writer, 0..6_500).await).await;

        assert_eq!(number(&store, "SELECT count(*) FROM many").await, 6_500);
        assert_eq!(number(&store, "SELECT CAST(sum(k) AS BIGINT) FROM many").await, 6_499 * 6_500 / 2);
        let stats = writer.stats();
        assert_eq!((stats.batches, stats.failed), (1, [0; 5]));
    }

    async fn a_batch_whose_commit_is_not_answered_is_written_once(database) {
        let faults = steadfast_store::Faults::new();
        let config = steadfast_store::Config { faults: faults.clone(), ..database.config() };
        let store = database.open_with(config).await;
        run(&store, "CREATE TABLE item (id BIGINT NOT NULL, name TEXT NOT NULL)").await;
        let count = "SELECT count(*) FROM item";

        for form in forms(&store) {
            let table = items().form(*form);
            let writer = BatchWriter::builder(of_rows("once", 2_000), sink(&store, table)).start().unwrap();
            // The first batch also forgets writers that are long gone.
            all(send(&writer, [item(-1)]).await).await;
            run(&store, "DELETE FROM item").await;
            for n in 1.. {
                faults.on(n, steadfast_store::Fault::After);
                all(send(&writer, (0..10).map(item)).await).await;
                let untouched = faults.hits() == 0;
                faults.clear();
                assert_eq!(number(&store, count).await, 10, "{form:?}, answer {n} is lost");
                run(&store, "DELETE FROM item").await;
                if untouched {
                    break;
                }
            }
        }
        // And without it the rows are there twice.
        let writer = BatchWriter::builder(of_rows("twice", 2_000), sink(&store, items().form(Form::Values).at_least_once()));
        let writer = writer.start().unwrap();
        faults.on_name("commit", steadfast_store::Fault::After);
        let receipts = send(&writer, (0..10).map(item)).await;
        until("its answer is lost", async || faults.hits() > 0).await;
        faults.clear();
        all(receipts).await;
        assert!(number(&store, count).await >= 20);
    }

    async fn a_batch_in_doubt_that_was_not_written_goes_another_way_once_that_is_known(database) {
        let faults = steadfast_store::Faults::new();
        let config = steadfast_store::Config { faults: faults.clone(), ..database.config() };
        let (store, faulty) = (database.open().await, database.open_with(config).await);
        run(&store, "CREATE TABLE item (id BIGINT NOT NULL, name TEXT NOT NULL)").await;
        let table = items().form(Form::Values).once();
        let writer = BatchWriter::builder(of_rows("settled", 200), sink(&faulty, table)).start().unwrap();

        faults.on_name("commit", steadfast_store::Fault::Before);
        let receipts = send(&writer, (0..10).map(item)).await;
        until("it is in doubt", async || writer.stats().failed[2] > 0).await;
        run(&store, "ALTER TABLE item RENAME TO away").await;
        until("it knows that no row can be written", async || writer.stats().is_broken).await;
        faults.clear();
        run(&store, "ALTER TABLE away RENAME TO item").await;
        all(receipts).await;

        assert_eq!(number(&store, "SELECT count(*) FROM item").await, 10);
        assert_eq!(writer.stats().dead, 0);
    }

    async fn an_upsert_is_not_undone_by_an_earlier_row_that_is_tried_again(database) {
        let store = database.open().await;
        let text = "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL CHECK (name <> 'bad'))";
        run(&store, text).await;
        let mut newer = 0;
        // So many rows fail before the table is mended, which may be between the two of one key.
        for failures in 3..9 {
            run(&store, "DELETE FROM item").await;
            let left = AtomicI64::new(failures);
            let sink = TableSink::new(&store, items().upsert(["id"]), move |item: &Item| {
                let is_bad = left.fetch_sub(1, SeqCst) > 0;
                binds![item.id, if is_bad { "bad".into() } else { item.name.clone() }]
            })
            .unwrap();
            let mut config = of_rows("mended", 200);
            config.bad_max = 1;
            let millisecond = Duration::from_millis(1);
            config.backoff = Backoff::new(millisecond, millisecond).unwrap();
            let writer = BatchWriter::builder(config, sink).start().unwrap();
            let row = |id, name: &str| Item { id, name: name.into() };

            let rows = [row(0, "first"), row(1, "older"), row(1, "newer")];
            let answers = answers(send(&writer, rows).await).await;

            let count = number(&store, "SELECT count(*) FROM item WHERE name = 'newer'").await;
            assert_eq!(count == 1, answers[2].is_ok(), "{failures}: {answers:?}");
            newer += count;
        }
        assert!(newer > 0);
    }

    async fn rows_wait_for_a_table_that_is_not_there(database) {
        let store = database.open().await;
        let writer = BatchWriter::builder(of_rows("early", 200), sink(&store, items())).start().unwrap();
        let receipts = send(&writer, (0..50).map(item)).await;
        until("it knows that no row can be written", async || writer.stats().is_broken).await;
        assert_eq!((writer.stats().dead, writer.stats().queued), (0, 50));

        run(&store, "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT)").await;
        all(receipts).await;

        assert_eq!(number(&store, "SELECT count(*) FROM item").await, 50);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn types_of_postgres_that_no_text_becomes_by_itself_are_cast() {
    let database = Database::make(Place::Postgres).await;
    let store = database.open().await;
    run(&store, "CREATE SCHEMA \"Shop\"").await;
    run(
        &store,
        "CREATE TABLE \"Shop\".\"Or\"\"der\" (id uuid, body jsonb, price numeric(10,2), n int2)",
    )
    .await;
    let uuid = "00000000-0000-0000-0000-000000000001";

    for form in [Form::Unnest, Form::Values, Form::Copy] {
        let table = Table::new("Shop.Or\"der")
            .form(form)
            .column_as("id", Kind::Text, "uuid")
            .column_as("body", Kind::Text, "jsonb")
            .column_as("price", Kind::Text, "numeric(10, 2)")
            .column("n", Kind::I64);
        let values = move |n: &i64| binds![uuid, format!("{{\"n\": {n}}}"), "1.50", *n];
        let sink = TableSink::new(&store, table, values).unwrap();
        let writer = BatchWriter::builder(of_rows("cast", 200), sink)
            .start()
            .unwrap();
        all(send(&writer, 0..3).await).await;
    }

    let sum =
        "SELECT sum((body->>'n')::bigint + n + 2 * price)::bigint FROM \"Shop\".\"Or\"\"der\"";
    assert_eq!(number(&store, sum).await, 3 * (3 + 3 + 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_is_refused() {
    let postgres = Database::make(Place::Postgres).await.open().await;
    let sqlite_database = Database::make(Place::Sqlite).await;
    let sqlite = sqlite_database.open().await;
    let check = |store: &Store, table: Table, expect: &str| {
        let none = |_: &i64| Vec::<Value>::new();
        let refused = TableSink::new(store, table, none).unwrap_err();
        assert_eq!(refused.code(), "SF-1114");
        assert!(refused.to_string().contains(expect), "{refused}");
    };

    check(
        &postgres,
        Table::new("a"),
        "has 0 columns, but must have from 1 to 1600",
    );
    check(
        &postgres,
        items().column("id", Kind::I64),
        "has the column \"id\" twice",
    );
    check(
        &postgres,
        Table::new("a\0b").column("a", Kind::I64),
        "none of them NUL",
    );
    check(
        &postgres,
        Table::new("a..b").column("a", Kind::I64),
        "from 1 to 63 bytes",
    );
    check(
        &postgres,
        items().upsert(["key"]),
        "its key \"key\" is none of its columns",
    );
    check(
        &postgres,
        items().upsert(Vec::<String>::new()),
        "has no key",
    );
    check(
        &postgres,
        items().row_bytes_max(0),
        "row_bytes_max must be from 1",
    );
    check(
        &postgres,
        items().column_as("b", Kind::Text, "int); DROP TABLE x --"),
        "is no name of a type",
    );
    check(
        &postgres,
        items().form(Form::Copy).upsert(["id"]),
        "COPY knows no conflicts",
    );
    check(&sqlite, items().form(Form::Copy), "SQLite has no COPY");
}
