//! Pools for queries of one's own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Postgres, Sqlite};
use steadfast_core::context::{self, Tier};
use steadfast_core::{clock, report, rng, scope, spawn};
use steadfast_store::pool::{AcquireError, PoolConfig};
use steadfast_store::sqlx09::Pool;
use steadfast_store::testing::{Cluster, Database, Kind, Stop};

use crate::process;

fn config(size: usize) -> PoolConfig {
    let mut config = PoolConfig::new("test");
    config.size = size;
    config.acquire_timeout = Duration::from_secs(60);
    config
}

/// One that gives up quickly.
fn impatient(size: usize) -> PoolConfig {
    let mut config = config(size);
    config.acquire_timeout = Duration::from_millis(100);
    config
}

fn postgres(url: &str, config: PoolConfig) -> Pool<Postgres> {
    Pool::postgres(url.parse().unwrap(), config).unwrap()
}

fn sqlite(database: &Database, config: PoolConfig) -> Pool<Sqlite> {
    let options = SqliteConnectOptions::new()
        .filename(database.file())
        .create_if_missing(true);
    Pool::sqlite(options, config).unwrap()
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let patience = async {
        while !is().await {
            clock::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = clock::timeout(Duration::from_secs(120), patience).await;
    assert!(in_time.is_ok(), "waited in vain until {what}");
}

/// Asks for a number, and gets that one.
async fn echo(pool: &Pool<Postgres>, number: i64) {
    let mut conn = pool.acquire().await.unwrap();
    let ask = sqlx::query_as("SELECT $1, txid_current_if_assigned() IS NULL")
        .bind(number)
        .fetch_one(&mut *conn);
    let answer = clock::timeout(Duration::from_secs(60), ask).await;
    let row: (i64, bool) = answer
        .expect("it does not wait for what others asked")
        .unwrap();
    assert_eq!(row, (number, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_begins_that_are_cancelled_hand_no_transaction_on() {
    let database = Database::make(Kind::Postgres).await;
    let pool = postgres(&database.direct_url(), config(4));
    let mut look = sqlx::PgConnection::connect(&database.direct_url())
        .await
        .unwrap();
    sqlx::raw_sql("CREATE TABLE item (id bigint)")
        .execute(&mut look)
        .await
        .unwrap();
    let mut cancelled = 0;

    for round in 0..1_000 {
        let mut conn = pool.acquire().await.unwrap();
        let begin = async {
            let insert = "INSERT INTO item VALUES (1)";
            // By hand, nobody knows of it but the server; a transaction of sqlx is ended by sqlx with the next query.
            if round % 2 == 0 {
                sqlx::query("BEGIN").execute(&mut *conn).await.unwrap();
                sqlx::query(insert).execute(&mut *conn).await.unwrap();
            } else {
                let mut tx = conn.begin().await.unwrap();
                sqlx::query(insert).execute(&mut *tx).await.unwrap();
                std::future::pending::<()>().await;
            }
            std::future::pending::<()>().await
        };
        // Sometimes before anything was sent, sometimes in the middle of the answer.
        let after = Duration::from_micros(rng::bits() % 800);
        cancelled += u32::from(clock::timeout(after, begin).await.is_err());
        drop(conn);
        // The next one has a connection of its own, without anything in it.
        echo(&pool, round).await;
    }

    assert_eq!(cancelled, 1_000);
    until("all are back", async || pool.stats().used == 0).await;
    assert!(pool.stats().idle <= 4);
    let open = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND state LIKE 'idle in%'";
    until("those that were thrown away are gone", async || {
        let open: (i64,) = sqlx::query_as(open).fetch_one(&mut look).await.unwrap();
        open == (0,)
    })
    .await;
    let written: (i64,) = sqlx::query_as("SELECT count(*) FROM item")
        .fetch_one(&mut look)
        .await
        .unwrap();
    assert_eq!(written, (0,));
}

// On one thread, so that nothing happens between the grant and the end of the one who waits.
#[tokio::test]
async fn who_leaves_just_when_it_is_granted_a_connection_costs_no_permit() {
    let database = Database::make(Kind::Sqlite).await;
    let pool = sqlite(&database, impatient(1));

    for _ in 0..10 {
        let held = pool.acquire().await.unwrap();
        let mut waiting = Box::pin(pool.acquire());
        let polled = waiting
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "it stands in line");
        drop(held);
        drop(waiting);
    }

    let stats = pool.stats();
    assert_eq!((stats.used, stats.waiters), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_is_cancelled_leaves_no_answer_behind_and_no_permit() {
    let database = Database::make(Kind::Postgres).await;
    let pool = postgres(&database.direct_url(), config(1));

    for round in 0..20 {
        let mut conn = pool.acquire().await.unwrap();
        let query = "SELECT -1::bigint, true FROM pg_sleep(0.05)";
        let ask = sqlx::query_as::<_, (i64, bool)>(query).fetch_one(&mut *conn);
        let _ = clock::timeout(Duration::from_millis(rng::bits() % 60), ask).await;
        drop(conn);
        echo(&pool, round).await;
    }
    // One that takes for ever costs the connection, and not the permit.
    let mut conn = pool.acquire().await.unwrap();
    let ask = sqlx::query("SELECT pg_sleep(600)").execute(&mut *conn);
    assert!(
        clock::timeout(Duration::from_millis(50), ask)
            .await
            .is_err()
    );
    let discarded = pool.stats().discarded;
    drop(conn);
    echo(&pool, 42).await;
    assert!(pool.stats().discarded > discarded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_dropped_is_rolled_back_and_its_connection_used_again() {
    let database = Database::make(Kind::Postgres).await;
    let pool = postgres(&database.direct_url(), config(1));
    let pid = async |conn: &mut sqlx::PgConnection| {
        let row: (i32,) = sqlx::query_as("SELECT pg_backend_pid()")
            .fetch_one(conn)
            .await
            .unwrap();
        row.0
    };
    let mut conn = pool.acquire().await.unwrap();
    let first = pid(&mut conn).await;
    let mut tx = conn.begin().await.unwrap();
    sqlx::raw_sql("CREATE TABLE item (id bigint)")
        .execute(&mut *tx)
        .await
        .unwrap();
    drop(tx);
    drop(conn);

    let mut conn = pool.acquire().await.unwrap();
    // On a machine that stands still for a second it is thrown away.
    assert!(pid(&mut conn).await == first || pool.stats().discarded > 0);
    let there: (bool,) = sqlx::query_as("SELECT to_regclass('item') IS NOT NULL")
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    assert_eq!(there, (false,));
    // By hand, so that nobody knows of it.
    sqlx::raw_sql("BEGIN; CREATE TABLE item (id bigint)")
        .execute(&mut *conn)
        .await
        .unwrap();
    drop(conn);

    let mut conn = pool.acquire().await.unwrap();
    assert!(pid(&mut conn).await == first || pool.stats().discarded > 0);
    let there: (bool,) = sqlx::query_as("SELECT to_regclass('item') IS NOT NULL")
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    assert_eq!(there, (false,));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_in_vain_is_told_who_has_the_connections() {
    let database = Database::make(Kind::Sqlite).await;
    let pool = sqlite(&database, impatient(2));
    let take = async |name: &'static str| {
        let pool = pool.clone();
        let task = spawn("holder", async move {
            scope(name)
                .run(async |_| Ok(pool.acquire().await?))
                .await
                .unwrap()
        });
        task.await.unwrap()
    };
    let _orders = take("orders").await;
    let _mails = take("mails").await;

    let refused = spawn("waiter", {
        let pool = pool.clone();
        async move { pool.acquire().await.map(drop).unwrap_err() }
    });
    let refused = refused.await.unwrap();

    assert!(refused.is_exhausted() && refused.is_retryable() && !refused.is_nested());
    let holders = refused.holders();
    assert_eq!(holders[0].scope(), "holder > orders");
    assert!(holders[0].trace_id().is_some());
    assert!(
        holders[0]
            .place()
            .unwrap()
            .file()
            .ends_with("tests/it/pool.rs")
    );
    assert_eq!(holders[1].scope(), "holder > mails");
    let told = refused.to_string();
    assert!(
        told.starts_with("waited ")
            && told.contains("for one of 2 connections; held by holder > orders (trace "),
        "{told}"
    );
    assert!(told.contains("tests/it/pool.rs:"), "{told}");
    let stats = pool.stats();
    assert_eq!((stats.used, stats.timeouts, stats.waiters), (2, 1, 0));
}

/// Fails where it would wait for its times.
async fn at_once(pool: &Pool<Postgres>) -> AcquireError {
    let acquire = pool.acquire();
    let refused = clock::timeout(Duration::from_secs(60), acquire).await;
    refused.expect("it does not wait for an hour").unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_is_told_at_once_and_one_that_is_back_is_used() {
    let cluster = tokio::task::block_in_place(Cluster::start);
    let mut patient = config(2);
    patient.acquire_timeout = PoolConfig::TIMEOUT_MAX;
    patient.connect_timeout = PoolConfig::TIMEOUT_MAX;
    let pool = postgres(&cluster.url("postgres"), patient.clone());
    echo(&pool, 1).await;
    until("it is back", async || pool.stats().used == 0).await;

    // What it refuses by words.
    let nowhere = postgres(&cluster.url("nowhere"), patient);
    let refused = at_once(&nowhere).await;
    assert!(refused.is_refused(), "{refused:?}");
    assert!(
        std::error::Error::source(&refused)
            .unwrap()
            .to_string()
            .contains("nowhere")
    );

    // The connection that is idle is dead by now; nobody listens for a new one.
    tokio::task::block_in_place(|| cluster.stop(Stop::Immediate));
    let refused = loop {
        match clock::timeout(Duration::from_secs(60), pool.acquire())
            .await
            .unwrap()
        {
            // Idle for less than a second it is given out without asking; then it is found dead.
            Ok(mut conn) => assert!(conn.ping().await.is_err()),
            Err(refused) => break refused,
        }
    };
    assert!(refused.is_refused() && !refused.is_silent(), "{refused:?}");
    assert!(
        refused.to_string().starts_with("the server at 127.0.0.1:"),
        "{refused}"
    );

    tokio::task::block_in_place(|| cluster.start_again());
    echo(&pool, 2).await;
    until("none is lost", async || pool.stats().used == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_takes_the_connection_and_says_nothing_is_slow() {
    // The system takes connections on its behalf; it never looks at them.
    let deaf = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = deaf.local_addr().unwrap().port();
    let mut config = config(1);
    config.connect_timeout = Duration::from_millis(200);
    let pool = postgres(
        &format!("postgres://app:secret@127.0.0.1:{port}/db"),
        config,
    );

    for _ in 0..3 {
        let slow = at_once(&pool).await;
        assert!(slow.is_handshake_slow() && slow.is_retryable(), "{slow:?}");
        let expect =
            format!("somebody at 127.0.0.1:{port} took the connection, and did not go on within ");
        assert!(slow.to_string().starts_with(&expect), "{slow}");
    }
    assert_eq!(pool.stats().used, 0, "the only permit is back each time");
}

/// A server behind a network that can be cut: in a namespace of the network, where root may make one and the server has
/// a socket in the file system, else behind a proxy that falls silent.
struct Network {
    address: SocketAddr,
    _relay: process::Process,
    way: Way,
}

enum Way {
    Namespace { name: String, us: Ipv4Addr },
    Proxy,
}

impl Network {
    fn before(socket: &str) -> Self {
        let pid = std::process::id();
        let name = format!("steadfast-{pid}");
        // Four addresses of the range for measurements; nobody else has them.
        let base = 0xc612_0000_u32 + (pid % 0x8000) * 4;
        let (us, them) = (Ipv4Addr::from(base + 1), Ipv4Addr::from(base + 2));
        let device = format!("sf{}", pid % 1_000_000);
        let peer = format!("{device}p");
        let made = [
            format!("netns add {name}"),
            format!("link add {device} type veth peer name {peer} netns {name}"),
            format!("addr add {us}/30 dev {device}"),
            format!("link set {device} up"),
            format!("-n {name} addr add {them}/30 dev {peer}"),
            format!("-n {name} link set {peer} up"),
        ]
        .iter()
        .all(|command| socket.starts_with('/') && ip(command));
        let told = [("SOCKET", socket), ("BIND", &them.to_string())];
        let (mut relay, way) = match made {
            true => {
                let relay = process::start_in(Some(&name), "relay", &told);
                (relay, Way::Namespace { name, us })
            }
            false => {
                let _ = ip(&format!("netns del {name}"));
                let told = [("SOCKET", socket), ("BIND", "127.0.0.1")];
                (process::start("relay", &told), Way::Proxy)
            }
        };
        let address = relay.says("listens at ").parse().unwrap();
        Self {
            address,
            _relay: relay,
            way,
        }
    }

    /// From now on no packet comes back.
    fn cut(&self) {
        match &self.way {
            Way::Namespace { name, us } => {
                assert!(ip(&format!("-n {name} route add blackhole {us}/32")))
            }
            Way::Proxy => self._relay.signal("STOP"),
        }
    }

    fn mend(&self) {
        match &self.way {
            Way::Namespace { name, us } => {
                assert!(ip(&format!("-n {name} route del blackhole {us}/32")))
            }
            Way::Proxy => self._relay.signal("CONT"),
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Way::Namespace { name, .. } = &self.way {
            ip(&format!("netns del {name}"));
        }
    }
}

fn ip(arguments: &str) -> bool {
    let ran = Command::new("ip").args(arguments.split(' ')).output();
    ran.is_ok_and(|ran| ran.status.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_are_dropped_cost_no_permit_and_are_told_apart_from_a_refusal() {
    let database = Database::make(Kind::Postgres).await;
    let server: PgConnectOptions = database.direct_url().parse().unwrap();
    // A socket of the file system is there in every namespace of the network.
    let port = server.get_port();
    let at = match server.get_socket() {
        Some(folder) => format!("{}/.s.PGSQL.{port}", folder.display()),
        None => format!("{}:{port}", server.get_host()),
    };
    let network = tokio::task::block_in_place(|| Network::before(&at));
    let options = server.socket_off(network.address);
    let mut config = config(3);
    config.connect_timeout = Duration::from_secs(2);
    let pool = Pool::postgres(options, config).unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(pool.acquire().await.unwrap());
    }
    for conn in &mut held {
        conn.ping().await.unwrap();
    }

    network.cut();
    for conn in &mut held {
        let ask = sqlx::query("SELECT 1").execute(&mut **conn);
        assert!(
            clock::timeout(Duration::from_millis(100), ask)
                .await
                .is_err(),
            "nobody answers"
        );
    }
    drop(held);
    until("all permits are back", async || pool.stats().used == 0).await;
    let silent = at_once(&pool).await;
    match network.way {
        Way::Namespace { .. } => assert!(silent.is_silent(), "{silent:?}"),
        // A proxy of ours can only be deaf.
        Way::Proxy => assert!(silent.is_handshake_slow(), "{silent:?}"),
    }
    assert!(silent.is_retryable() && !silent.is_refused());

    network.mend();
    for number in 0..3 {
        echo(&pool, number).await;
    }
    until("none is lost", async || pool.stats().used == 0).await;
}

/// Leads to another address than that of a socket.
trait SocketOff {
    fn socket_off(self, address: SocketAddr) -> Self;
}

impl SocketOff for PgConnectOptions {
    fn socket_off(self, address: SocketAddr) -> Self {
        let mut fresh = PgConnectOptions::new_without_pgpass()
            .host(&address.ip().to_string())
            .port(address.port())
            .username("postgres")
            .ssl_mode(sqlx::postgres::PgSslMode::Disable);
        if let Some(database) = self.get_database() {
            fresh = fresh.database(database);
        }
        fresh
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_waits_for_the_connection_it_holds_is_told_so() {
    let database = Database::make(Kind::Sqlite).await;
    let pool = sqlite(&database, impatient(2));

    let nested = spawn("nested", {
        let pool = pool.clone();
        async move {
            let _one = pool.acquire().await.unwrap();
            let _two = pool.acquire().await.unwrap();
            pool.acquire().await.map(drop).unwrap_err()
        }
    });
    let nested = nested.await.unwrap();

    assert!(nested.is_nested() && nested.is_exhausted() && !nested.is_retryable());
    let told = nested.to_string();
    assert!(
        told.contains("for one of 2 connections, of which the task that waited holds 2 itself"),
        "{told}"
    );
    assert_eq!(pool.stats().nested, 1);
}

/// Keeps the fields of events of pools.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Events {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "steadfast::pool"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{field}={value:?} "));
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
}

// On one thread, so that what is told anywhere is heard.
#[tokio::test]
async fn a_leak_is_told_once_with_the_holder_named() {
    let events = Events::default();
    // While there is only one, a line that another test's thread writes first would be disabled for all.
    let _second = tracing::Dispatch::new(Events::default());
    let _heard = tracing::subscriber::set_default(events.clone());
    let database = Database::make(Kind::Sqlite).await;
    let mut config = config(2);
    config.leak_after = Duration::from_millis(40);
    let pool = sqlite(&database, config);
    let leaked = scope("import")
        .run(async |_| Ok(pool.acquire().await?))
        .await
        .unwrap();
    let trace = pool.holders()[0].trace_id().unwrap();

    let of_import = || {
        let mut told = events.0.lock().unwrap().clone();
        told.retain(|event| event.contains("holder=\"import\""));
        told
    };
    until("it is told", async || !of_import().is_empty()).await;
    // Others come and go meanwhile, and this one is not told again.
    for _ in 0..20 {
        drop(pool.acquire().await.unwrap());
        clock::sleep(Duration::from_millis(5)).await;
    }

    let told = of_import();
    assert_eq!(told.len(), 1, "{told:?}");
    for expect in [
        "a connection is held for long",
        "holder=\"import\"",
        "tests/it/pool.rs",
        &trace.to_string(),
    ] {
        assert!(told[0].contains(expect), "{told:?}");
    }
    assert_eq!(pool.stats().held_long, 1);
    drop(leaked);
    assert_eq!(pool.stats().held_long, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_connections_are_for_the_tier_that_they_are_kept_for() {
    let database = Database::make(Kind::Sqlite).await;
    let mut config = impatient(3);
    config.reserve[0] = 2;
    let pool = sqlite(&database, config);
    let as_core = || {
        context::current()
            .with_tier(Tier::CORE)
            .wrap(pool.acquire())
    };

    let _other = pool.acquire().await.unwrap();
    assert!(pool.acquire().await.unwrap_err().is_exhausted());
    let _first = as_core().await.unwrap();
    let _second = as_core().await.unwrap();
    assert!(as_core().await.unwrap_err().is_exhausted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_size_changes_while_it_runs() {
    let database = Database::make(Kind::Sqlite).await;
    let mut config = config(1);
    config.size_max = 4;
    let pool = sqlite(&database, config);
    let first = pool.acquire().await.unwrap();
    let waiting = spawn("waiter", {
        let pool = pool.clone();
        async move { pool.acquire().await.unwrap() }
    });
    until("it waits", async || pool.stats().waiters == 1).await;

    pool.resize(2).unwrap();
    let second = waiting.await.unwrap();
    assert_eq!((pool.stats().size, pool.stats().used), (2, 2));

    pool.resize(1).unwrap();
    drop(first);
    until("one is closed", async || pool.stats().used == 1).await;
    drop(second);
    until("one is kept", async || pool.stats().used == 0).await;
    let stats = pool.stats();
    assert!(stats.idle == 1 || stats.discarded > 0, "{stats:?}");
    let refused = pool.resize(5).unwrap_err().to_string();
    assert!(
        refused.contains("size: is 5, but must be from 1 to 4"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_is_closed_says_so_to_whoever_waits() {
    let database = Database::make(Kind::Sqlite).await;
    let pool = sqlite(&database, config(1));
    let held = pool.acquire().await.unwrap();
    let waiting = spawn("waiter", {
        let pool = pool.clone();
        async move { pool.acquire().await.map(drop).unwrap_err() }
    });
    until("it waits", async || pool.stats().waiters == 1).await;

    pool.close();

    assert!(waiting.await.unwrap().is_closed());
    assert!(pool.acquire().await.unwrap_err().is_closed());
    drop(held);
    until("it is not kept", async || pool.stats().used == 0).await;
    assert_eq!(pool.stats().idle, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_has_the_names_of_opentelemetry_and_the_advice_a_size() {
    let database = Database::make(Kind::Sqlite).await;
    let mut config = config(3);
    config.name = "reported".into();
    let pool = sqlite(&database, config);
    assert!(pool.advice().is_none());
    let held = pool.acquire().await.unwrap();
    drop(pool.acquire().await.unwrap());
    until("it is back", async || pool.stats().used == 1).await;

    let snapshot = report::snapshot();
    assert!(snapshot.undescribed().is_empty());
    let value = |name: &str, label: &str| {
        let mut of_pool = snapshot.metrics().filter(|metric| {
            let has = |value: &str| {
                metric
                    .labels
                    .iter()
                    .any(|(_, label)| label.as_str() == value)
            };
            metric.name == name && has("reported") && (label.is_empty() || has(label))
        });
        of_pool.next().unwrap().value.clone()
    };
    assert_eq!(
        value("db_client_connection_count", "used"),
        report::Value::Gauge(1.0)
    );
    assert_eq!(
        value("db_client_connection_count", "idle"),
        report::Value::Gauge(pool.stats().idle as f64)
    );
    assert_eq!(
        value("db_client_connection_max", ""),
        report::Value::Gauge(3.0)
    );
    assert_eq!(
        value("db_client_connection_pending_requests", ""),
        report::Value::Gauge(0.0)
    );
    assert_eq!(
        value("db_client_connection_timeouts_total", ""),
        report::Value::Counter(0)
    );
    let report::Value::Histogram(waits) = value("db_client_connection_wait_time_seconds", "")
    else {
        panic!("it is a histogram");
    };
    assert_eq!(waits.count(), 2);
    drop(held);
    let advice = pool.advice().unwrap();
    assert_eq!(advice.size, 3);
    assert!((1..=100).contains(&advice.advised), "{advice}");
}

#[test]
fn a_pool_that_cannot_be_is_refused() {
    let check = |change: fn(&mut PoolConfig), expect: &str| {
        let mut config = PoolConfig::new("refused");
        change(&mut config);
        let refused = Pool::sqlite(SqliteConnectOptions::new(), config).unwrap_err();
        assert_eq!(refused.code(), "SF-1114");
        assert!(refused.to_string().contains(expect), "{refused}");
    };

    check(|c| c.size = 0, "size: is 0, but must be from 1 to 100");
    check(|c| c.size_max = 1_001, "size_max: must be from 1 to 1000");
    check(|c| c.reserve[0] = 10, "reserve: keeps 10 of 10 connections");
    check(
        |c| c.leak_after = Duration::ZERO,
        "leak_after: must be from 1 ms to 1 h",
    );
}
