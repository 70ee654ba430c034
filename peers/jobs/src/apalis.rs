//! `apalis` on PostgreSQL and SQLite: batches of the size that served it best, tasks in parallel, pushed wake-ups.

use std::time::Duration;

use apalis::prelude::*;
use steadfast::BoxError;

use crate::protocol::{self, Told, say};

const BATCH: usize = 1_000;
const AT_ONCE: usize = 1_000;

async fn nothing(number: u64) -> Result<(), BoxDynError> {
    protocol::ran(number);
    Ok(())
}

pub(crate) async fn play(told: Told) -> Result<(), BoxError> {
    match told.url.strip_prefix("sqlite:") {
        Some(file) => on_sqlite(&told, file).await,
        None => on_postgres(&told).await,
    }
}

async fn on_postgres(told: &Told) -> Result<(), BoxError> {
    use apalis_postgres::{Config, PgPool, PostgresStorage, queries};
    let pool = PgPool::connect(&told.url).await?;
    if told.role == "setup" {
        PostgresStorage::setup(&pool).await?;
        return Ok(());
    }
    let config = Config::default()
        .queue("nothing")
        .batch_size(BATCH)
        .lock_tasks(false);
    let backend = PostgresStorage::<u64>::new(&pool)
        .with_config(config)
        .with_pubsub()
        .poll_with_interval(Duration::from_millis(20));
    let push = |numbers: std::ops::Range<u64>| {
        let pool = pool.clone();
        async move {
            let tasks = numbers.map(|number| {
                TaskBuilder::new(serde_json::to_vec(&number).expect("a number is JSON")).build()
            });
            let mut conn = pool.acquire().await.expect("there is a connection");
            queries::push_tasks(&mut *conn, "nothing", tasks.collect::<Vec<_>>())
                .await
                .expect("it is taken");
        }
    };
    let worker = WorkerBuilder::new(format!("bench-{}", std::process::id()))
        .backend(backend)
        .concurrency(AT_ONCE)
        .build(nothing);
    match told.role.as_str() {
        "enqueue" => {
            protocol::enqueued(async {
                for first in (0..told.count).step_by(5_000) {
                    push(first..(first + 5_000).min(told.count)).await;
                }
            })
            .await;
        }
        "work" => {
            say("working");
            worker.run().await?;
        }
        "pickup" => {
            tokio::spawn(worker.run());
            protocol::pickup(told.count, |number| push(number..number + 1)).await;
        }
        _ => {}
    }
    Ok(())
}

async fn on_sqlite(told: &Told, file: &str) -> Result<(), BoxError> {
    use apalis_sqlite::{Config, SqlitePool, SqliteStorage, queries};
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true);
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let pool: SqlitePool = sqlx::sqlite::SqlitePoolOptions::new()
        // Its worker does one thing after the other, and the file has one writer.
        .max_connections(1)
        .connect_with(options)
        .await?;
    if told.role == "setup" {
        SqliteStorage::setup(&pool).await?;
        return Ok(());
    }
    let config = Config::default()
        .queue("nothing")
        .batch_size(BATCH)
        .lock_tasks(false);
    let backend = SqliteStorage::<u64>::new(&pool)
        .with_config(config)
        .poll_with_interval(Duration::from_millis(20));
    let push = |numbers: std::ops::Range<u64>| {
        let pool = pool.clone();
        async move {
            let tasks = numbers.map(|number| {
                TaskBuilder::new(serde_json::to_vec(&number).expect("a number is JSON")).build()
            });
            // In a transaction, as its storage pushes many.
            let mut tx = pool.begin().await.expect("it is begun");
            queries::push_tasks(&mut *tx, "nothing", &tasks.collect::<Vec<_>>())
                .await
                .expect("it is taken");
            tx.commit().await.expect("it is committed");
        }
    };
    let worker = WorkerBuilder::new(format!("bench-{}", std::process::id()))
        .backend(backend)
        .concurrency(AT_ONCE)
        .build(nothing);
    match told.role.as_str() {
        "enqueue" => {
            protocol::enqueued(async {
                for first in (0..told.count).step_by(1_000) {
                    push(first..(first + 1_000).min(told.count)).await;
                }
            })
            .await;
        }
        "work" => {
            // Its documents do not ask for it. Without statistics its statement that ends tasks goes through all that
            // the worker has ever had, and through the whole list of ends for each of them.
            sqlx::query("ANALYZE").execute(&pool).await?;
            say("working");
            worker.run().await?;
        }
        "pickup" => {
            tokio::spawn(worker.run());
            protocol::pickup(told.count, |number| push(number..number + 1)).await;
        }
        _ => {}
    }
    Ok(())
}
