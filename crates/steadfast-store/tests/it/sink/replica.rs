use sqlx::{AssertSqlSafe, Connection, PgConnection};
use steadfast_core::batch::{BatchWriter, Look};
use steadfast_core::decide::batch::{Constraint, Lag, UnknownLag};
use steadfast_store::sink::{DatabaseLook, Replicas};
use steadfast_store::testing::{Cluster, Database, Kind as Place};
use steadfast_store::{Config, Store};

use super::*;

/// A server, and one that follows it by logical replication.
struct Pair {
    store: Store,
    subscriber: PgConnection,
    _clusters: [Cluster; 2],
}

impl Pair {
    async fn start() -> Self {
        let clusters = tokio::task::block_in_place(|| {
            [
                Cluster::start_with(&["wal_level = logical", "wal_receiver_status_interval = 1s"]),
                Cluster::start_with(&["wal_receiver_status_interval = 1s"]),
            ]
        });
        let config = Config {
            connections_max: 12,
            ..Config::postgres(clusters[0].url("postgres"))
        };
        let store = Store::open(config).await.unwrap();
        let mut subscriber = PgConnection::connect(&clusters[1].url("postgres"))
            .await
            .unwrap();
        let table = "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL)";
        run(&store, table).await;
        run(&store, "CREATE PUBLICATION all_items FOR TABLE item").await;
        sqlx::raw_sql(table).execute(&mut subscriber).await.unwrap();
        let subscribe = format!(
            "CREATE SUBSCRIPTION items CONNECTION '{}' PUBLICATION all_items",
            clusters[0].url("postgres")
        );
        sqlx::raw_sql(AssertSqlSafe(subscribe))
            .execute(&mut subscriber)
            .await
            .unwrap();
        Self {
            store,
            subscriber,
            _clusters: clusters,
        }
    }

    async fn followed(&mut self) -> i64 {
        let row: (i64,) = sqlx::query_as("SELECT count(*) FROM item")
            .fetch_one(&mut self.subscriber)
            .await
            .unwrap();
        row.0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_whose_worker_waits_for_a_lock_stops_the_writer_until_it_goes_on() {
    let mut pair = Pair::start().await;
    let look = DatabaseLook::new(&pair.store, Replicas::AtLeast(1));
    let lag = async || match look.look().await.lag {
        Lag::Known(lag) => Some(lag),
        Lag::Unknown => None,
    };
    let mut config = BatchConfig::new("followed");
    config.linger = Duration::from_millis(1);
    config.queue_max = 100_000;
    let limit = Duration::from_secs(2);
    config.size.lag_max = Some(limit);
    // Longer than this test takes, so that nothing passes while it is paused.
    config.size.pause_max = Duration::from_secs(3_600);
    config.size.unknown_lag = UnknownLag::Pause;
    let writer = BatchWriter::builder(config, sink(&pair.store, items()))
        .looking(DatabaseLook::new(&pair.store, Replicas::AtLeast(1)))
        .start()
        .unwrap();
    all(send(&writer, (0..100).map(item)).await).await;
    until("the subscriber has caught up", async || {
        pair.followed().await == 100
    })
    .await;
    until("the lag says so", async || {
        lag().await.is_some_and(|lag| lag < limit)
    })
    .await;

    // Somebody holds the table on the subscriber, and the apply worker waits. It tells nothing meanwhile.
    sqlx::raw_sql("BEGIN; LOCK TABLE item IN SHARE MODE")
        .execute(&mut pair.subscriber)
        .await
        .unwrap();
    let mut next = 100;
    let mut receipts = Vec::new();
    until("the writer stops because of the lag", async || {
        receipts.push(writer.send(item(next)).await.unwrap());
        next += 1;
        let stats = writer.stats();
        stats.is_paused && stats.constraint == Constraint::Lag
    })
    .await;
    until("others see it too", async || {
        lag().await.is_some_and(|lag| lag >= limit)
    })
    .await;
    receipts.extend(send(&writer, (next..next + 500).map(item)).await);
    next += 500;
    // More than two looks later nothing has been written.
    let written = writer.stats().written;
    clock::sleep(Duration::from_millis(500)).await;
    assert_eq!(writer.stats().written, written);

    sqlx::raw_sql("COMMIT")
        .execute(&mut pair.subscriber)
        .await
        .unwrap();
    all(receipts).await;

    assert!(!writer.stats().is_paused);
    until("the subscriber has everything", async || {
        pair.followed().await == next
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_is_gone_is_behind_and_one_that_never_was_is_unknown() {
    let mut pair = Pair::start().await;
    let look = DatabaseLook::new(&pair.store, Replicas::AtLeast(1));
    let both = DatabaseLook::new(&pair.store, Replicas::AtLeast(2));
    let unwatched = DatabaseLook::new(&pair.store, Replicas::Unwatched);
    run(
        &pair.store,
        "INSERT INTO item SELECT i, '' FROM generate_series(1, 100) i",
    )
    .await;
    until("the subscriber has caught up", async || {
        pair.followed().await == 100
    })
    .await;
    until("it is known", async || {
        look.look().await.lag != Lag::Unknown
    })
    .await;
    assert_eq!(both.look().await.lag, Lag::Unknown);
    assert_eq!(unwatched.look().await.lag, Lag::Unknown);

    sqlx::raw_sql("ALTER SUBSCRIPTION items DISABLE")
        .execute(&mut pair.subscriber)
        .await
        .unwrap();
    run(
        &pair.store,
        "INSERT INTO item SELECT i, '' FROM generate_series(101, 200) i",
    )
    .await;
    until(
        "its slot is seen to be behind",
        async || matches!(look.look().await.lag, Lag::Known(lag) if lag > Duration::from_secs(1)),
    )
    .await;

    sqlx::raw_sql("ALTER SUBSCRIPTION items ENABLE")
        .execute(&mut pair.subscriber)
        .await
        .unwrap();
    until(
        "it has caught up",
        async || matches!(look.look().await.lag, Lag::Known(lag) if lag < Duration::from_secs(1)),
    )
    .await;
    assert_eq!(pair.followed().await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_lock_is_counted() {
    let database = Database::make(Place::Postgres).await;
    let store = database.open().await;
    run(
        &store,
        "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL)",
    )
    .await;
    run(&store, "INSERT INTO item VALUES (1, '')").await;
    let look = DatabaseLook::new(&store, Replicas::Unwatched);
    assert_eq!(look.look().await.lock_waiters, Some(0));

    let mut holder = PgConnection::connect(&database.direct_url()).await.unwrap();
    sqlx::raw_sql("BEGIN; UPDATE item SET name = 'held'")
        .execute(&mut holder)
        .await
        .unwrap();
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let store = store.clone();
            spawn("waiter", async move {
                run(&store, "UPDATE item SET name = 'waited'").await
            })
        })
        .collect();
    until("all three wait", async || {
        look.look().await.lock_waiters == Some(3)
    })
    .await;

    sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    for waiter in waiters {
        waiter.await.unwrap();
    }
    // A look may have been told what was seen just before.
    until("nobody waits", async || {
        look.look().await.lock_waiters == Some(0)
    })
    .await;
}
