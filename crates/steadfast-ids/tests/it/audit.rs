//! An audit of tables.

use steadfast_ids::audit::{Audit, Form};
use steadfast_ids::snowflake::LayoutConfig;
use steadfast_ids::{Generator, Id, Layout};
use steadfast_store::testing::{Database, Kind};
use steadfast_store::{Binds, Dialect, Store, binds};

async fn sql(store: &Store, text: &'static str, binds: Binds) {
    let ran: Result<_, steadfast_store::Error> =
        store.write(async |mut tx| tx.sql(text, binds).await).await;
    ran.unwrap();
}

/// Puts text or numbers into a table.
async fn insert(store: &Store, ids: &[Id], table: &'static str) {
    let text = match (store.dialect(), table) {
        (Dialect::Sqlite, "number") => {
            "INSERT INTO number SELECT CAST(value AS INTEGER) FROM json_each(?1)"
        }
        (Dialect::Sqlite, _) => "INSERT INTO word SELECT value FROM json_each(?1)",
        (Dialect::Postgres, "number") => {
            "INSERT INTO number SELECT n::bigint FROM unnest($1::text[]) AS n"
        }
        (Dialect::Postgres, _) => "INSERT INTO word SELECT n FROM unnest($1::text[]) AS n",
    };
    let texts: Vec<String> = ids
        .iter()
        .map(|id| match table {
            "base32" => id.text(),
            _ => id.to_string(),
        })
        .collect();
    sql(store, text, binds![texts]).await;
}

async fn made(layout: Layout, count: u32) -> Vec<Id> {
    let ids = Generator::builder(5).layout(layout).build().unwrap();
    let mut made = Vec::new();
    while made.len() < count as usize {
        made.extend(ids.batch(count - made.len() as u32).await.unwrap());
    }
    made
}

steadfast_store::on_every_store! {
    async fn whatever_is_written_twice_is_found_across_pages_in_every_form(database) {
        let store = database.open().await;
        sql(&store, "CREATE TABLE number (\"the id\" bigint)", binds![]).await;
        let ids = made(Layout::DEFAULT, 1_000).await;
        insert(&store, &ids, "number").await;
        for (table, form) in [("number", Form::Number), ("decimal", Form::Decimal), ("base32", Form::Base32)] {
            let name = if table == "number" { "number" } else { "word" };
            if name == "word" {
                sql(&store, "DROP TABLE IF EXISTS word", binds![]).await;
                sql(&store, "CREATE TABLE word (\"the id\" text)", binds![]).await;
                insert(&store, &ids, table).await;
            }
            // Pages of one have a border between any two.
            for page in [1, 7, 1_000, 1_001] {
                let audit = Audit::new(name, "the id").unwrap().form(form).page(page);

                let report = audit.run(&store).await.unwrap();

                assert!(report.is_clean(), "{report}");
                assert_eq!((report.rows, report.workers, report.ahead), (1_000, 1, 0));
            }
            // The first, one in the middle and the last once more; one of them twice.
            insert(&store, &[ids[0], ids[500], ids[500], ids[999]], table).await;
            for page in [1, 7, 1_003] {
                let report = Audit::new(name, "the id").unwrap().form(form).page(page).run(&store).await.unwrap();

                assert!(!report.is_clean());
                assert_eq!(report.repeated, [(ids[0], 2), (ids[500], 3), (ids[999], 2)]);
                assert_eq!((report.rows, report.repeated_total), (1_004, 3));
                assert!(report.to_string().contains(&format!("{} stands in 3 rows", ids[500])), "{report}");
            }
        }
    }

    async fn ids_of_one_place_with_two_genes_are_found_although_the_numbers_differ(database) {
        let store = database.open().await;
        sql(&store, "CREATE TABLE number (id bigint PRIMARY KEY)", binds![]).await;
        let layout = Layout::new(LayoutConfig { sequence_bits: 8, gene_bits: 4, ..LayoutConfig::default() }).unwrap();
        let ids = made(layout, 100).await;
        let twin = Id::new(ids[40].get() ^ 1);
        insert(&store, &ids, "number").await;
        insert(&store, &[twin], "number").await;

        let report = Audit::new("number", "id").unwrap().layout(layout).page(3).run(&store).await.unwrap();

        assert_eq!((report.repeated_total, report.clashing_total), (0, 1));
        let (one, other) = report.clashing[0];
        assert!([one, other].contains(&twin) && [one, other].contains(&ids[40]));
    }

    async fn what_is_no_id_of_this_form_and_layout_is_counted(database) {
        let store = database.open().await;
        sql(&store, "CREATE TABLE number (id bigint)", binds![]).await;
        sql(&store, "INSERT INTO number VALUES (NULL), (-9223372036854775808), (-1), (0), (9223372036854775807)", binds![]).await;
        let audit = Audit::new("number", "id").unwrap().page(1);

        let report = audit.clone().layout(Layout::JAVASCRIPT).run(&store).await.unwrap();

        assert_eq!((report.rows, report.foreign), (4, 3));
        assert_eq!(audit.run(&store).await.unwrap().foreign, 2);

        // Another way to write an id is another text.
        sql(&store, "CREATE TABLE word (id text)", binds![]).await;
        sql(&store, "INSERT INTO word VALUES (''), ('007'), ('+7'), ('7'), ('x'), (NULL), ('18446744073709551616')", binds![]).await;
        let report = Audit::new("word", "id").unwrap().form(Form::Decimal).page(2).run(&store).await.unwrap();
        assert_eq!((report.rows, report.unreadable_total), (6, 5));
        assert!(report.unreadable.contains(&"007".to_owned()));
        sql(&store, "INSERT INTO word VALUES ('03BTS1RB42807'), ('03bts1rb42807'), ('O3BTS1RB42807')", binds![]).await;
        let report = Audit::new("word", "id").unwrap().form(Form::Base32).run(&store).await.unwrap();
        assert_eq!((report.rows, report.unreadable_total), (9, 8));
    }

    async fn names_are_names_whatever_they_hold(database) {
        let store = database.open().await;
        sql(&store, "CREATE TABLE \"x\"\"; DROP TABLE number; --\" (\"id\"\" = 1 OR 1 = 1 --\" bigint)", binds![]).await;
        sql(&store, "CREATE TABLE number (id bigint)", binds![]).await;
        sql(&store, "INSERT INTO \"x\"\"; DROP TABLE number; --\" VALUES (1), (1)", binds![]).await;

        let report = Audit::new("x\"; DROP TABLE number; --", "id\" = 1 OR 1 = 1 --").unwrap().run(&store).await.unwrap();

        assert_eq!((report.rows, report.repeated_total), (2, 1));
        assert_eq!(Audit::new("number", "id").unwrap().run(&store).await.unwrap().rows, 0, "it is still there");
        for (table, column) in [("nothing", "id"), ("number", "nothing")] {
            let error = Audit::new(table, column).unwrap().run(&store).await.unwrap_err();
            assert_eq!(error.store().unwrap().code(), "SF-1116", "{error:?}");
        }
        assert!(Audit::new("a.b.c", "id").is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_of_another_kind_is_told() {
    let database = Database::make(Kind::Postgres).await;
    let store = database.open().await;
    sql(&store, "CREATE TABLE word AS SELECT '7' AS id", binds![]).await;
    sql(&store, "CREATE TABLE number AS SELECT 7 AS id", binds![]).await;

    let error = Audit::new("word", "id")
        .unwrap()
        .run(&store)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SF-1310");
    assert!(
        error
            .to_string()
            .contains("\"word\".\"id\" is text, and bigint was expected"),
        "{error}"
    );
    let texts = Audit::new("number", "id").unwrap().form(Form::Decimal);
    assert_eq!(texts.run(&store).await.unwrap_err().code(), "SF-1310");
    // Narrower numbers are numbers.
    assert!(
        Audit::new("number", "id")
            .unwrap()
            .run(&store)
            .await
            .unwrap()
            .is_clean()
    );
}

#[tokio::test]
async fn what_sqlite_lets_into_a_column_of_numbers_is_counted() {
    let database = Database::make(Kind::Sqlite).await;
    let store = database.open().await;
    sql(&store, "CREATE TABLE number (id)", binds![]).await;
    sql(
        &store,
        "INSERT INTO number VALUES (1), ('two'), (3.5), (x'04'), (NULL)",
        binds![],
    )
    .await;

    let report = Audit::new("number", "id")
        .unwrap()
        .run(&store)
        .await
        .unwrap();

    assert_eq!((report.rows, report.unreadable_total), (4, 3));
}
