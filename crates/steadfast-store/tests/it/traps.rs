//! What goes wrong when the usual parts are put together, and what does not here.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row, SqliteConnection};
use steadfast_core::{clock, spawn};
use steadfast_store::testing::{Cluster, Database, Kind};
use steadfast_store::{Config, Error, LockConfig, Place, Statement, Store, Tx, binds};

/// T18: a transaction that was begun without the lock fails at once when it turns to writing, however
/// long it may wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_turns_writer_fails_at_once_and_ours_waits() {
    let database = Database::make(Kind::Sqlite).await;
    let store = database.open().await;
    store
        .write(async |mut tx| {
            tx.sql("CREATE TABLE account (balance INTEGER)", binds![])
                .await?;
            tx.sql("INSERT INTO account VALUES (0)", binds![]).await
        })
        .await
        .unwrap();
    let wait = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(database.file())
        .busy_timeout(Duration::from_secs(60));

    let mut first = SqliteConnection::connect_with(&wait).await.unwrap();
    let mut second = SqliteConnection::connect_with(&wait).await.unwrap();
    for conn in [&mut first, &mut second] {
        sqlx::raw_sql("BEGIN; SELECT balance FROM account")
            .execute(conn)
            .await
            .unwrap();
    }
    let add = "UPDATE account SET balance = balance + 1";
    sqlx::raw_sql(add).execute(&mut first).await.unwrap();
    sqlx::raw_sql("COMMIT").execute(&mut first).await.unwrap();
    let wrong = sqlx::raw_sql(add).execute(&mut second).await.unwrap_err();
    assert!(wrong.to_string().contains("locked"), "{wrong}");
    drop((first, second));

    let writers: Vec<_> = (0..10)
        .map(|_| {
            let store = store.clone();
            spawn("writer", async move {
                store
                    .write(async |mut tx| {
                        let read = tx.sql("SELECT balance FROM account", binds![]).await?;
                        let balance: i64 = read.one()?.get(0)?;
                        tx.sql("UPDATE account SET balance = ?1", binds![balance + 1])
                            .await
                    })
                    .await
                    .map(drop)
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }

    let balance = store
        .read(async |mut tx| tx.sql("SELECT balance FROM account", binds![]).await)
        .await
        .unwrap();
    assert_eq!(balance.one().unwrap().get::<i64>(0).unwrap(), 11);
}

fn through_the_pooler(database: &Database) -> PgConnectOptions {
    let Place::Postgres(url) = database.config().place else {
        unreachable!("it is PostgreSQL")
    };
    let options: PgConnectOptions = url.parse().unwrap();
    options.extra_float_digits(None).disable_statement_logging()
}

/// T19: a lock of the session belongs to the server's session, which the pooler gives to others.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_a_session_is_stranded_in_the_pooler_and_ours_is_given_back() {
    let database = Database::make(Kind::Pgbouncer).await;
    let store = database.open().await;
    let mut holder = PgConnection::connect_with(&through_the_pooler(&database))
        .await
        .unwrap();
    sqlx::raw_sql("SELECT pg_advisory_lock(7)")
        .execute(&mut holder)
        .await
        .unwrap();
    holder.close().await.unwrap();

    let mut direct = PgConnection::connect(&database.direct_url()).await.unwrap();
    let free: bool = sqlx::query("SELECT pg_try_advisory_lock(7)")
        .fetch_one(&mut direct)
        .await
        .unwrap()
        .get(0);
    assert!(!free, "nobody holds it any more, and nobody can have it");

    let lock = store.lock("seven", LockConfig::default()).await.unwrap();
    lock.release().await;
    assert!(
        store
            .try_lock("seven", LockConfig::default())
            .await
            .unwrap()
            .is_some()
    );
}

/// T29: a driver that prepares in one step and executes in the next gets what somebody else prepared.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn statements_outside_of_transactions_get_answers_of_others_and_ours_do_not() {
    let database = Database::make(Kind::Pgbouncer).await;
    let clients: Vec<_> = (0..10_i64)
        .map(|client| {
            let options = through_the_pooler(&database).statement_cache_capacity(0);
            spawn("client", async move {
                let mut conn = PgConnection::connect_with(&options).await.unwrap();
                let mut wrong = 0;
                for _ in 0..100 {
                    let text = format!("SELECT {client}::bigint");
                    let query = sqlx::query(AssertSqlSafe(text)).persistent(false);
                    match query.fetch_one(&mut conn).await {
                        Ok(row) if row.get::<i64, _>(0) == client => {}
                        // Another client's number, or an error about a statement that is not there.
                        Ok(_) | Err(_) => wrong += 1,
                    }
                }
                wrong
            })
        })
        .collect();
    let mut wrong = 0;
    for client in clients {
        wrong += client.await.unwrap();
    }
    assert!(
        wrong > 0,
        "ten clients on two servers get each other's answers"
    );

    static NUMBER: Statement = Statement::new("test", "number", "SELECT ?1", "SELECT $1::bigint");
    let store = database.open().await;
    let clients: Vec<_> = (0..10_i64)
        .map(|client| {
            let store = store.clone();
            spawn("client", async move {
                for _ in 0..50 {
                    let rows = store.run(&NUMBER, binds![client]).await?;
                    assert_eq!(rows.one()?.get::<i64>(0)?, client);
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap().unwrap();
    }
}

static INSERT: Statement = Statement::new(
    "test",
    "insert",
    "INSERT INTO item (id) VALUES (?1) RETURNING id",
    "INSERT INTO item (id) VALUES ($1) RETURNING id",
);

async fn items(store: &Store) -> i64 {
    let rows = store
        .read(async |mut tx| tx.sql("SELECT count(*) FROM item", binds![]).await)
        .await
        .unwrap();
    rows.one().unwrap().get(0).unwrap()
}

steadfast_store::on_every_store! {
    /// On SQLite they are committed together, and still each is a transaction by itself.
    async fn intents_that_wait_together_do_not_fail_together(database) {
        let store = database.open().await;
        let create = "CREATE TABLE item (id BIGINT PRIMARY KEY)";
        store.write(async |mut tx| tx.sql(create, binds![]).await).await.unwrap();
        store.run(&INSERT, binds![13_i64]).await.unwrap();

        let intents: Vec<_> = (0..40_i64)
            .map(|id| {
                let store = store.clone();
                spawn("intent", async move { store.run(&INSERT, binds![id]).await })
            })
            .collect();
        for (id, intent) in (0_i64..).zip(intents) {
            match intent.await.unwrap() {
                Ok(rows) => assert_eq!(rows.one().unwrap().get::<i64>(0).unwrap(), id),
                Err(error) => {
                    assert_eq!(id, 13, "{error}");
                    assert!(error.is_unique_violation(), "{error}");
                    assert_eq!(error.statement(), Some("test.insert"));
                }
            }
        }

        assert_eq!(items(&store).await, 40);
    }

    async fn a_lane_goes_on_when_others_have_all_connections(database) {
        let config = Config {
            connections_max: 1,
            acquire_timeout: Duration::from_millis(200),
            ..database.config()
        };
        let store = database.open_with(config).await;
        let create = "CREATE TABLE item (id BIGINT PRIMARY KEY)";
        store.write(async |mut tx| tx.sql(create, binds![]).await).await.unwrap();
        let lane = store.lane();
        lane.run(&INSERT, binds![1_i64]).await.unwrap();

        // On SQLite there is one writer for all, but readers are not in its way.
        let held = match database.kind() {
            Kind::Sqlite => None,
            _ => Some(store.begin().await.unwrap()),
        };
        lane.run(&INSERT, binds![2_i64]).await.unwrap();
        let insert = async |mut tx: Tx<'static>| tx.run(&INSERT, binds![3_i64]).await;
        lane.write(insert).await.unwrap();
        drop(held);

        assert_eq!(items(&store).await, 3);
    }

    async fn what_is_dropped_half_way_keeps_nothing(database) {
        let config = Config { connections_max: 1, ..database.config() };
        let store = database.open_with(config).await;
        let create = "CREATE TABLE item (id BIGINT PRIMARY KEY)";
        store.write(async |mut tx| tx.sql(create, binds![]).await).await.unwrap();

        for polls in 1..30 {
            let mut insert = std::pin::pin!(store.write(async |mut tx| {
                tx.run(&INSERT, binds![polls]).await?;
                // Long enough that a part of the rounds ends in here.
                tx.sql("SELECT count(*) FROM item a, item b, item c", binds![]).await
            }));
            for _ in 0..polls {
                let once = std::future::poll_fn(|cx| {
                    std::task::Poll::Ready(insert.as_mut().poll(cx).is_ready())
                });
                if once.await {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }

        // Whatever became of each, the one connection is there for others.
        let before = items(&store).await;
        store.run(&INSERT, binds![1_000_i64]).await.unwrap();
        // More than one where somebody was dropped whose commit was under way.
        assert!(items(&store).await > before);
    }
}

async fn connect(cluster: &Cluster) -> (PgConnection, i32) {
    let mut conn = PgConnection::connect(&cluster.url("postgres"))
        .await
        .unwrap();
    let pid = sqlx::query("SELECT pg_backend_pid()")
        .fetch_one(&mut conn)
        .await;
    (conn, pid.unwrap().get(0))
}

/// Waits until one row is what is looked for.
async fn until(conn: &mut PgConnection, ask: &'static str, pid: i32) {
    let found = async {
        loop {
            let count: i64 = sqlx::query(ask)
                .bind(pid)
                .fetch_one(&mut *conn)
                .await
                .unwrap()
                .get(0);
            if count > 0 {
                return;
            }
            clock::sleep(Duration::from_millis(5)).await;
        }
    };
    clock::timeout(Duration::from_secs(60), found)
        .await
        .unwrap();
}

/// T24: commits with a wake-up stand in one line, however short each is: one that takes long to become safe
/// holds up all the others, and there is no group of commits any more.
#[tokio::test(flavor = "multi_thread")]
async fn commits_that_notify_wait_for_each_other_and_ours_do_not() {
    // A replica that never comes makes a commit that asks for it take as long as the test wants.
    let nobody = "synchronous_standby_names = 'nobody'";
    let cluster = tokio::task::block_in_place(|| Cluster::start_with(&[nobody]));
    let store = Store::open(Config::postgres(cluster.url("postgres")))
        .await
        .unwrap();
    let create = "CREATE TABLE item (id BIGINT PRIMARY KEY)";
    store
        .write(async |mut tx| tx.sql(create, binds![]).await)
        .await
        .unwrap();
    let (mut look, _) = connect(&cluster).await;
    let (mut slow, slow_pid) = connect(&cluster).await;
    let (mut second, second_pid) = connect(&cluster).await;

    let first = spawn("first", async move {
        let enqueue = "BEGIN; SET LOCAL synchronous_commit = on; INSERT INTO item VALUES (1); NOTIFY jobs; COMMIT";
        sqlx::raw_sql(enqueue).execute(&mut slow).await.unwrap();
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'";
    until(&mut look, waits, slow_pid).await;
    let behind = spawn("behind", async move {
        let enqueue = "BEGIN; INSERT INTO item VALUES (2); NOTIFY jobs; COMMIT";
        sqlx::raw_sql(enqueue).execute(&mut second).await.unwrap();
    });
    let waits = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted";
    until(&mut look, waits, second_pid).await;

    // Ours commit while those stand in line; a wake-up comes after the commit, and waits by itself.
    store.run(&INSERT, binds![3_i64]).await.unwrap();
    let waking = store.clone();
    let waking = spawn("waking", async move { waking.wake("jobs", "").await });
    let added = store.write(async |mut tx| tx.run(&INSERT, binds![4_i64]).await);
    added.await.unwrap();
    assert_eq!(items(&store).await, 2, "of those in line none is there yet");

    sqlx::query("SELECT pg_cancel_backend($1)")
        .bind(slow_pid)
        .execute(&mut look)
        .await
        .unwrap();
    first.await.unwrap();
    behind.await.unwrap();
    // It may have given up, if this machine was slow: that costs the time to a poll.
    let _ = waking.await.unwrap();
    assert_eq!(items(&store).await, 4);
}
