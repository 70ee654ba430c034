//! What is true on SQLite, on PostgreSQL, and on PostgreSQL behind PgBouncer.

use steadfast_store::{Dialect, Error, Rows, Store, batch, binds, on_every_store};

async fn table(store: &Store) {
    store
        .write(async |mut tx| {
            let create = "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT, data BLOB)";
            let create_postgres =
                "CREATE TABLE item (id bigint PRIMARY KEY, name text, data bytea)";
            let text = match tx.store().dialect() {
                Dialect::Sqlite => create,
                Dialect::Postgres => create_postgres,
            };
            tx.sql(text, binds![]).await
        })
        .await
        .unwrap();
}

async fn count(store: &Store) -> i64 {
    let rows = store
        .read(async |mut tx| tx.sql("SELECT count(*) FROM item", binds![]).await)
        .await
        .unwrap();
    rows.one().unwrap().get(0).unwrap()
}

const INSERT: [&str; 2] = [
    "INSERT INTO item (id, name, data) VALUES (?1, ?2, ?3)",
    "INSERT INTO item (id, name, data) VALUES ($1, $2, $3)",
];

fn insert(store: &Store) -> &'static str {
    INSERT[usize::from(store.dialect() == Dialect::Postgres)]
}

on_every_store! {
    async fn what_is_written_is_read(database) {
        let store = database.open().await;
        table(&store).await;

        store
            .write(async |mut tx| {
                let text = insert(tx.store());
                tx.sql(text, binds![1_i64, "é\"\n", vec![0_u8, 255]]).await?;
                tx.sql(text, binds![2_i64, None::<&str>, None::<Vec<u8>>]).await
            })
            .await
            .unwrap();

        let rows = store
            .read(async |mut tx| tx.sql("SELECT id, name, data FROM item ORDER BY id", binds![]).await)
            .await
            .unwrap();
        let rows: Vec<(i64, Option<String>, Option<Vec<u8>>)> = rows
            .iter()
            .map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .collect::<Result<_, Error>>()
            .unwrap();
        assert_eq!(
            rows,
            [(1, Some("é\"\n".to_owned()), Some(vec![0, 255])), (2, None, None)]
        );
    }

    async fn a_transaction_that_fails_leaves_nothing(database) {
        let store = database.open().await;
        table(&store).await;

        let failed = store
            .write(async |mut tx| {
                let text = insert(tx.store());
                tx.sql(text, binds![1_i64, "a", None::<Vec<u8>>]).await?;
                tx.sql(text, binds![1_i64, "b", None::<Vec<u8>>]).await
            })
            .await
            .unwrap_err();

        assert!(failed.is_unique_violation(), "{failed:?}");
        assert!(!failed.is_retryable());
        assert_eq!(failed.code(), "SF-1113");
        assert_eq!(count(&store).await, 0);
    }

    async fn a_transaction_is_over_with_its_first_error(database) {
        let store = database.open().await;
        table(&store).await;
        let mut tx = store.begin().await.unwrap();
        let text = insert(&store);
        tx.sql(text, binds![1_i64, "a", None::<Vec<u8>>]).await.unwrap();
        tx.sql("SELECT nonsense", binds![]).await.unwrap_err();

        let later = tx.sql(text, binds![2_i64, "b", None::<Vec<u8>>]).await.unwrap_err();
        let commit = tx.commit().await.unwrap_err();

        assert_eq!((later.code(), commit.code()), ("SF-1121", "SF-1121"));
        assert_eq!(count(&store).await, 0);
    }

    async fn a_transaction_that_is_dropped_leaves_nothing(database) {
        let store = database.open().await;
        table(&store).await;
        let mut tx = store.begin().await.unwrap();
        tx.sql(insert(&store), binds![1_i64, "a", None::<Vec<u8>>]).await.unwrap();

        drop(tx);

        assert_eq!(count(&store).await, 0);
        // And nobody waits for it.
        let tx = store.begin().await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn rows_of_a_batch_are_bound_together(database) {
        let store = database.open().await;
        table(&store).await;
        let ids: Vec<i64> = (0..500).collect();
        let names: Vec<Option<String>> =
            ids.iter().map(|id| (id % 3 > 0).then(|| format!("n{id}"))).collect();
        let data: Vec<Vec<u8>> = ids.iter().map(|id| vec![(id % 256) as u8; 3]).collect();

        store
            .write(async |mut tx| {
                let text = match tx.store().dialect() {
                    Dialect::Sqlite => {
                        "INSERT INTO item SELECT value->>0, value->>1, unhex(value->>2) \
                         FROM json_each(?1)"
                    }
                    Dialect::Postgres => {
                        "INSERT INTO item SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])"
                    }
                };
                tx.sql(text, binds![batch![ids, names, data]]).await
            })
            .await
            .unwrap();

        let rows = store
            .read(async |mut tx| {
                let text = match tx.store().dialect() {
                    Dialect::Sqlite => {
                        "SELECT id, name, data FROM item \
                         WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id"
                    }
                    Dialect::Postgres => {
                        "SELECT id, name, data FROM item WHERE id = ANY($1) ORDER BY id"
                    }
                };
                tx.sql(text, binds![vec![3_i64, 400]]).await
            })
            .await
            .unwrap();
        let rows: Vec<(i64, Option<&str>, &[u8])> = rows
            .iter()
            .map(|row| (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap()))
            .collect();
        assert_eq!(rows, [(3, None, &[3_u8; 3][..]), (400, Some("n400"), &[144_u8; 3][..])]);
        assert_eq!(count(&store).await, 500);
    }

    async fn columns_that_differ_in_length_are_refused(database) {
        let store = database.open().await;

        let uneven = store
            .read(async |mut tx| {
                tx.sql("SELECT 1", binds![batch![vec![1_i64], Vec::<i64>::new()]]).await
            })
            .await
            .unwrap_err();

        assert_eq!(uneven.code(), "SF-1112");
    }

    async fn a_transaction_can_move_between_tasks(database) {
        let store = database.open().await;
        table(&store).await;

        let written = steadfast_core::spawn("writer", async move {
            store
                .write(async |mut tx| {
                    let text = insert(tx.store());
                    tx.sql(text, binds![1_i64, "a", None::<Vec<u8>>]).await
                })
                .await?;
            Ok::<_, Error>(count(&store).await)
        })
        .await
        .unwrap();

        assert_eq!(written.unwrap(), 1);
    }

    async fn arrays_are_read_where_there_are_some(database) {
        let store = database.open().await;
        let text = match store.dialect() {
            Dialect::Sqlite => "SELECT '[1,2]', '[null]'",
            Dialect::Postgres => "SELECT '{1,2}'::bigint[], '{one,null}'::text[]",
        };

        let rows: Result<Rows, Error> = store.read(async |mut tx| tx.sql(text, binds![]).await).await;
        let rows = rows.unwrap();
        let row = rows.one().unwrap();
        let (numbers, texts) = (row.get::<Vec<i64>>(0), row.get::<Vec<Option<String>>>(1));

        match store.dialect() {
            Dialect::Sqlite => assert!(numbers.is_err() && texts.is_err()),
            Dialect::Postgres => {
                assert_eq!(numbers.unwrap(), [1, 2]);
                assert_eq!(texts.unwrap(), [Some("one".to_owned()), None]);
                assert!(row.get::<Vec<i64>>(2).is_err(), "there is no such column");
            }
        }
    }

    async fn many_nodes_may_migrate_at_once(database) {
        let opened = (0..8).map(|_| {
            let config = database.config();
            steadfast_core::spawn("node", async move { Store::open(config).await.map(drop) })
        });

        for opened in opened.collect::<Vec<_>>() {
            opened.await.unwrap().unwrap();
        }
    }
}
