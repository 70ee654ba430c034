//! A driver that prepares and executes in two steps gets answers of others behind a pooler.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use steadfast::store::testing::{Database, Kind};
use steadfast::store::{Error, Place, binds};
use tokio::task::JoinSet;

use crate::support::{Side, seen};

const CLIENTS: i64 = 10;

async fn ask(options: PgConnectOptions, client: i64, times: usize) -> usize {
    let mut conn = PgConnection::connect_with(&options).await.unwrap();
    let mut wrong = 0;
    for _ in 0..times {
        let query =
            sqlx::query(AssertSqlSafe(format!("SELECT {client}::bigint"))).persistent(false);
        match query.fetch_one(&mut conn).await {
            Ok(row) if row.get::<i64, _>(0) == client => {}
            Ok(_) | Err(_) => wrong += 1,
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_usual_assembly_fails() {
    let database = Database::make(Kind::Pgbouncer).await;
    let Place::Postgres(url) = database.config().place else {
        unreachable!("it is PostgreSQL")
    };
    let options: PgConnectOptions = url.parse().unwrap();
    let options = options.extra_float_digits(None).statement_cache_capacity(0);

    // They have to meet; should a busy machine have kept them apart, they try again.
    let mut wrong = 0;
    for _ in 0..50 {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(ask(options.clone(), client, 100));
        }
        wrong = clients.join_all().await.into_iter().sum();
        if wrong > 0 {
            break;
        }
    }

    assert!(wrong > 0);
    seen(
        "t29",
        Side::Usual,
        "of 1,000 questions outside of a transaction some were answered with the number of another client, or with an error",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ours_holds() {
    let database = Database::make(Kind::Pgbouncer).await;
    let store = database.open().await;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let store = store.clone();
        clients.spawn(async move {
            for _ in 0..50 {
                let asked: Result<_, Error> = store
                    .read(async |mut tx| tx.sql("SELECT $1::bigint", binds![client]).await)
                    .await;
                assert_eq!(asked.unwrap().one().unwrap().get::<i64>(0).unwrap(), client);
            }
        });
    }

    clients.join_all().await;

    seen(
        "t29",
        Side::Ours,
        "of 500 questions by ten clients each got its own answer",
    );
}
