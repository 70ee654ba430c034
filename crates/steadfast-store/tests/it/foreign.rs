//! Transactions of sqlx that the caller brings along.

use sqlx::Connection;
use steadfast_store::testing::{Database, Kind};
use steadfast_store::{binds, sqlx09};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_within_a_transaction_of_sqlx_ends_as_it_does() {
    let database = Database::make(Kind::Postgres).await;
    let store = database.open().await;
    let mut conn = sqlx::PgConnection::connect(&database.direct_url())
        .await
        .unwrap();
    sqlx::raw_sql("CREATE TABLE item (id bigint PRIMARY KEY)")
        .execute(&mut conn)
        .await
        .unwrap();

    for commit in [true, false] {
        let mut theirs = conn.begin().await.unwrap();
        let mut ours = sqlx09::within(&store, &mut *theirs).unwrap();
        ours.sql("INSERT INTO item SELECT count(*) + 1 FROM item", binds![])
            .await
            .unwrap();
        assert!(ours.is_foreign());
        assert!(ours.after_commit(|| ()).is_err());
        ours.commit().await.unwrap();
        if commit {
            theirs.commit().await.unwrap();
        } else {
            theirs.rollback().await.unwrap();
        }
    }

    let rows = store
        .read(async |mut tx| tx.sql("SELECT count(*) FROM item", binds![]).await)
        .await
        .unwrap();
    assert_eq!(rows.one().unwrap().get::<i64>(0).unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_the_other_database_is_refused() {
    let database = Database::make(Kind::Sqlite).await;
    let store = database.open().await;
    let server = Database::make(Kind::Postgres).await;
    let mut conn = sqlx::PgConnection::connect(&server.direct_url())
        .await
        .unwrap();

    let refused = sqlx09::within(&store, &mut conn).unwrap_err();

    assert_eq!(refused.code(), "SF-1114");
}
