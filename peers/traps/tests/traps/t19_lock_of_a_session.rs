//! An advisory lock of a session is stranded in a pooler that gives out transactions.

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use steadfast::store::testing::{Database, Kind};
use steadfast::store::{LockConfig, Place};

use crate::support::{Side, seen};

fn through_the_pooler(database: &Database) -> PgConnectOptions {
    let Place::Postgres(url) = database.config().place else {
        unreachable!("it is PostgreSQL")
    };
    let options: PgConnectOptions = url.parse().unwrap();
    options.extra_float_digits(None)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_assembly_fails() {
    let database = Database::make(Kind::Pgbouncer).await;
    let mut holder = PgConnection::connect_with(&through_the_pooler(&database))
        .await
        .unwrap();
    sqlx::raw_sql("SELECT pg_advisory_lock(7)")
        .execute(&mut holder)
        .await
        .unwrap();
    holder.close().await.unwrap();

    let mut direct = PgConnection::connect(&database.direct_url()).await.unwrap();
    let free = sqlx::query_scalar("SELECT pg_try_advisory_lock(7)").fetch_one(&mut direct);

    let free: bool = free.await.unwrap();
    assert!(!free);
    seen(
        "t19",
        Side::Usual,
        "whoever took the lock has gone, and nobody can have it any more",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_holds() {
    let database = Database::make(Kind::Pgbouncer).await;
    let (one, other) = (database.open().await, database.open().await);

    let lock = one.lock("seven", LockConfig::default()).await.unwrap();
    assert!(
        other
            .try_lock("seven", LockConfig::default())
            .await
            .unwrap()
            .is_none()
    );
    lock.release().await;

    assert!(
        other
            .try_lock("seven", LockConfig::default())
            .await
            .unwrap()
            .is_some()
    );
    seen(
        "t19",
        Side::Ours,
        "the lock was given back, and the next one had it, through the same pooler",
    );
}
