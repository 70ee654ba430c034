//! A worker that was paused finishes the job that another one has by now.

use std::time::Duration;

use sqlx::{PgPool, Row};
use steadfast::BoxError;
use steadfast::jobs::{Job, Jobs, Kind, Options, Run, State, Worker};
use steadfast::store::testing::{Database, Kind as On};
use steadfast::store::{Config, Error, Place, Store, binds};

use crate::support::{Gate, Side, seen, soon};

const CLAIM: &str =
    "UPDATE job SET state = 'running', locked_at = now(), attempt = attempt + 1 WHERE id = (
    SELECT id FROM job
    WHERE state = 'waiting' OR (state = 'running' AND locked_at < now() - interval '1 minute')
    LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id";

const FINISH: &str =
    "UPDATE job SET state = 'done', result = $2 WHERE id = $1 AND state = 'running'";

async fn claim(pool: &PgPool) -> i64 {
    sqlx::query(CLAIM).fetch_one(pool).await.unwrap().get(0)
}

async fn finish(pool: &PgPool, id: i64, result: &str) -> u64 {
    sqlx::query(FINISH)
        .bind(id)
        .bind(result)
        .execute(pool)
        .await
        .unwrap()
        .rows_affected()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_assembly_fails() {
    let database = Database::make(On::Postgres).await;
    let pool = PgPool::connect(&database.direct_url()).await.unwrap();
    for table in [
        "CREATE TABLE job (id bigint, state text, attempt int, locked_at timestamptz, result text)",
        "INSERT INTO job VALUES (1, 'waiting', 0, NULL, NULL)",
    ] {
        sqlx::query(table).execute(&pool).await.unwrap();
    }

    let paused = claim(&pool).await;
    sqlx::query("UPDATE job SET locked_at = locked_at - interval '2 minutes'")
        .execute(&pool)
        .await
        .unwrap();
    let other = claim(&pool).await;
    assert_eq!(paused, other);
    let late = finish(&pool, paused, "stale").await;
    let right = finish(&pool, other, "fresh").await;

    assert_eq!((late, right), (1, 0));
    let result: String = sqlx::query_scalar("SELECT result FROM job")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(result, "stale");
    seen(
        "t23",
        Side::Usual,
        "the paused worker ended the job that another one was working on, and what that one said then was lost",
    );
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Render {}

impl Job for Render {
    const KIND: &'static str = "render";
}

async fn jobs(config: Config) -> Jobs {
    Jobs::open(&Store::open(config).await.unwrap())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_holds() {
    let database = Database::make(On::Postgres).await;
    let (first, second) = (jobs(database.config()).await, jobs(database.config()).await);
    assert!(matches!(database.config().place, Place::Postgres(_)));
    let gate = Gate::default();
    let at = gate.clone();
    // It stands still, and goes on whatever it is told: as a process does that was paused.
    let paused = Kind::new(move |_: Run, _: Render| {
        let at = at.clone();
        async move {
            let done = tokio::spawn(async move { at.pass().await });
            done.await?;
            Ok::<_, BoxError>("stale")
        }
    });
    let paused = Worker::builder(&first)
        .kind(paused)
        .build()
        .unwrap()
        .start();
    let id = first.enqueue(&Render {}, Options::new()).await.unwrap();
    soon(gate.until_inside(1)).await;

    // The others think that its process is dead, and one of them takes over.
    let dead = "UPDATE steadfast.node SET ended_us = 1";
    let ended: Result<_, Error> = second
        .store()
        .write(async |mut tx| tx.sql(dead, binds![]).await)
        .await;
    ended.unwrap();
    let fresh = Kind::new(async |_: Run, _: Render| Ok::<_, BoxError>("fresh"));
    let other = Worker::builder(&second)
        .kind(fresh)
        .rescue_every(Duration::from_millis(50))
        .build()
        .unwrap()
        .start();
    let done = async || {
        loop {
            let job = second.find(id).await.unwrap().unwrap();
            if job.info.state == State::Completed {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(done()).await;
    gate.open();
    paused.stop(Duration::from_secs(60)).await;

    assert_eq!(done().await.result.as_deref(), Some("\"fresh\""));
    other.stop(Duration::from_secs(60)).await;
    seen(
        "t23",
        Side::Ours,
        "the paused worker was refused: the result is that of the one that has the job",
    );
}
