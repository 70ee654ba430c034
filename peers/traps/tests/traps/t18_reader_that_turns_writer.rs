//! A transaction of SQLite that reads and then writes fails at once, whatever `busy_timeout` says.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{Sqlite, Transaction};
use steadfast::store::testing::{Database, Kind};
use steadfast::store::{Error, Store, binds};

use crate::support::{Side, seen};

async fn read(tx: &mut Transaction<'_, Sqlite>) -> i64 {
    let balance = sqlx::query_scalar("SELECT balance FROM account");
    balance.fetch_one(&mut **tx).await.unwrap()
}

#[tokio::test]
async fn the_usual_assembly_fails() {
    let database = Database::make(Kind::Sqlite).await;
    let options = SqliteConnectOptions::new()
        .filename(database.file())
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(60));
    let pool = SqlitePoolOptions::new()
        .connect_with(options)
        .await
        .unwrap();
    for table in [
        "CREATE TABLE account (balance INTEGER)",
        "INSERT INTO account VALUES (0)",
    ] {
        sqlx::query(table).execute(&pool).await.unwrap();
    }

    let (mut one, mut other) = (pool.begin().await.unwrap(), pool.begin().await.unwrap());
    let balance = read(&mut one).await + read(&mut other).await;
    let write = "UPDATE account SET balance = ?1";
    sqlx::query(write)
        .bind(balance + 1)
        .execute(&mut *one)
        .await
        .unwrap();
    one.commit().await.unwrap();
    let refused = sqlx::query(write)
        .bind(balance + 1)
        .execute(&mut *other)
        .await
        .unwrap_err();

    assert!(
        refused.to_string().contains("database is locked"),
        "{refused}"
    );
    seen(
        "t18",
        Side::Usual,
        "with a busy_timeout of a minute, the second of two that read before they write fails at once: database is locked",
    );
}

async fn pay_in(store: &Store) -> Result<(), Error> {
    store
        .write(async |mut tx| {
            let read = tx.sql("SELECT balance FROM account", binds![]).await?;
            let balance: i64 = read.one()?.get(0)?;
            tx.sql("UPDATE account SET balance = ?1", binds![balance + 1])
                .await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn ours_holds() {
    let database = Database::make(Kind::Sqlite).await;
    let store = database.open().await;
    for table in [
        "CREATE TABLE account (balance INTEGER)",
        "INSERT INTO account VALUES (0)",
    ] {
        let made: Result<_, Error> = store
            .write(async |mut tx| tx.sql(table, binds![]).await)
            .await;
        made.unwrap();
    }

    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { pay_in(&store).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }

    let balance: Result<_, Error> = store
        .read(async |mut tx| tx.sql("SELECT balance FROM account", binds![]).await)
        .await;
    assert_eq!(balance.unwrap().one().unwrap().get::<i64>(0).unwrap(), 10);
    seen(
        "t18",
        Side::Ours,
        "of ten that read before they wrote at the same time, ten have committed, and the balance is ten",
    );
}
