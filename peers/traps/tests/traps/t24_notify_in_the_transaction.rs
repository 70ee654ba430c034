//! NOTIFY in a transaction takes its commit out of the group commit of everybody.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use steadfast::jobs::{Job, Jobs, Options};
use steadfast::store::testing::Cluster;
use steadfast::store::{Config, Error, Rows, Store, binds};
use tokio::task::JoinSet;

use crate::support::{Side, seen, soon};

const CLIENTS: usize = 10;

/// A server whose commits wait for ever, as on a disk that is very slow: for the answer of a replica that is not there.
/// Whoever asks for it is not kept waiting.
struct Slow {
    cluster: Cluster,
}

impl Slow {
    async fn start() -> Self {
        let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
        Self { cluster }
    }

    async fn pool(&self) -> PgPool {
        let url = self.cluster.url("postgres");
        PgPoolOptions::new()
            .max_connections(CLIENTS as u32)
            .connect(&url)
            .await
            .unwrap()
    }

    async fn direct(&self) -> PgConnection {
        PgConnection::connect(&self.cluster.url("postgres"))
            .await
            .unwrap()
    }

    /// From now on no commit comes to its end.
    async fn stop_flushing(&self) {
        let mut direct = self.direct().await;
        for setting in [
            "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
            "ALTER SYSTEM SET synchronous_commit = 'remote_write'",
            "SELECT pg_reload_conf()",
        ] {
            sqlx::query(setting).execute(&mut direct).await.unwrap();
        }
        soon(async {
            // Each session reads its settings anew before its next statement.
            loop {
                let mut fresh = self.direct().await;
                let names = names(&mut fresh).await;
                if names == "nobody" {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Waits until so many commits wait; gives how many for the flush, and how many for a lock.
    async fn waiting(&self) -> (i64, i64) {
        let mut direct = self.direct().await;
        let waits = "SELECT count(*) FILTER (WHERE wait_event = 'SyncRep'), count(*) FILTER (WHERE wait_event_type = 'Lock')
            FROM pg_stat_activity WHERE backend_type = 'client backend'";
        soon(async {
            loop {
                let (flush, lock): (i64, i64) =
                    sqlx::query_as(waits).fetch_one(&mut direct).await.unwrap();
                if flush + lock == CLIENTS as i64 {
                    return (flush, lock);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }
}

async fn names(conn: &mut PgConnection) -> String {
    let names = sqlx::query_scalar("SHOW synchronous_standby_names");
    names.fetch_one(conn).await.unwrap()
}

/// Ten clients that commit, some with a NOTIFY: who waits for what.
async fn commits(notify: bool) -> (i64, i64) {
    let server = Slow::start().await;
    let pool = server.pool().await;
    sqlx::query("CREATE TABLE job (payload bigint)")
        .execute(&pool)
        .await
        .unwrap();
    server.stop_flushing().await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS as i64 {
        let pool = pool.clone();
        clients.spawn(async move {
            let mut tx = pool.begin().await.unwrap();
            // A session that is there already is told a moment later than new ones.
            while names(&mut *tx).await != "nobody" {
                tx.rollback().await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
                tx = pool.begin().await.unwrap();
            }
            sqlx::query("INSERT INTO job VALUES ($1)")
                .bind(number)
                .execute(&mut *tx)
                .await
                .unwrap();
            if notify {
                sqlx::query("NOTIFY jobs").execute(&mut *tx).await.unwrap();
            }
            tx.commit().await
        });
    }
    server.waiting().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_assembly_fails() {
    assert_eq!(commits(true).await, (1, 9));
    assert_eq!(commits(false).await, (10, 0));
    seen(
        "t24",
        Side::Usual,
        "of ten commits with a NOTIFY, one waits for the disk and nine wait for its lock; of ten without, all ten wait for the disk together",
    );
}

/// Whether all connections of the store are to those that wait for the replica.
async fn all_know(store: &Store) -> bool {
    let mut asked = JoinSet::new();
    for _ in 0..CLIENTS {
        let store = store.clone();
        asked.spawn(async move {
            let names = "SELECT current_setting('synchronous_standby_names') FROM pg_sleep(0.1)";
            let names: Result<Rows, Error> = store
                .read(async |mut tx| tx.sql(names, binds![]).await)
                .await;
            names.unwrap().one().unwrap().get::<&str>(0).unwrap() == "nobody"
        });
    }
    asked.join_all().await.into_iter().all(|knows| knows)
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Pack {
    order: i64,
}

impl Job for Pack {
    const KIND: &'static str = "pack";
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_holds() {
    let server = Slow::start().await;
    let store = Store::open(Config::postgres(server.cluster.url("postgres")))
        .await
        .unwrap();
    let jobs = Arc::new(Jobs::open(&store).await.unwrap());
    server.stop_flushing().await;

    soon(async {
        while !all_know(&store).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;

    let mut clients = JoinSet::new();
    for order in 0..CLIENTS as i64 {
        let jobs = jobs.clone();
        clients.spawn(async move { jobs.enqueue(&Pack { order }, Options::new()).await });
    }

    assert_eq!(server.waiting().await, (10, 0));
    seen(
        "t24",
        Side::Ours,
        "of ten commits that enqueue, all ten wait for the disk together",
    );
}
