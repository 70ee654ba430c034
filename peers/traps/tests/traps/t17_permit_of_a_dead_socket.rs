//! A timeout around a query on a socket that has died keeps the permit of the pool for ever.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use steadfast::scope;
use steadfast::store::testing::Cluster;
use steadfast::store::{Config, Store, Tx, binds};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::support::{Side, seen, settle, soon};

/// Tells each query, and never answers one: what a connection looks like whose other end has lost its power.
async fn dead(mut socket: TcpStream, queries: mpsc::UnboundedSender<()>) -> io::Result<()> {
    let mut bytes = [0; 1024];
    while socket.read(&mut bytes).await? > 0 {
        let _ = queries.send(());
    }
    Ok(())
}

/// Lets clients of PostgreSQL in, and is dead from then on.
async fn silent(queries: mpsc::UnboundedSender<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(session(socket, queries.clone()));
        }
    });
    address
}

async fn session(mut socket: TcpStream, queries: mpsc::UnboundedSender<()>) -> io::Result<()> {
    let length = socket.read_u32().await?;
    socket.read_exact(&mut vec![0; length as usize - 4]).await?;
    // Authenticated; ready for a query.
    socket.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await?;
    dead(socket, queries).await
}

/// A pool of two connections to it.
async fn pool_of_two() -> (PgPool, mpsc::UnboundedReceiver<()>) {
    let (queries, sent) = mpsc::unbounded_channel();
    let address = silent(queries).await;
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(address.port())
        .username("shop")
        .ssl_mode(PgSslMode::Disable);
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(Duration::from_millis(500))
        .test_before_acquire(false)
        .connect_lazy_with(options);
    (pool, sent)
}

#[tokio::test]
async fn the_usual_assembly_fails() {
    let (pool, mut sent) = pool_of_two().await;

    for _ in 0..2 {
        // The timeout fires once the query has been sent.
        tokio::select! {
            _ = sqlx::query("select 1").execute(&pool) => panic!("nobody answers"),
            query = soon(sent.recv()) => query.unwrap(),
        }
    }
    settle().await;

    // Nobody holds a connection any more, and there is none to be had.
    let error = pool.acquire().await.unwrap_err();
    assert!(matches!(error, sqlx::Error::PoolTimedOut), "{error}");
    assert_eq!(pool.size(), 2);
    seen(
        "t17",
        Side::Usual,
        "after two queries that were timed out, a pool of 2 gives no connection any more, though nobody holds one",
    );
}

/// What the page says to write where the pool has to be this one.
#[tokio::test]
async fn a_connection_that_is_closed_gives_its_permit_back() {
    let (pool, mut sent) = pool_of_two().await;

    for _ in 0..10 {
        let mut connection = pool.acquire().await.unwrap();
        tokio::select! {
            _ = sqlx::query("select 1").execute(&mut *connection) => panic!("nobody answers"),
            query = soon(sent.recv()) => query.unwrap(),
        }
        connection.close_on_drop();
        drop(connection);
        while sent.try_recv().is_ok() {}
    }
}

/// A way to a real server, for ours looks at its tables before it opens.
struct Way {
    address: SocketAddr,
    cut: watch::Sender<()>,
    queries: mpsc::UnboundedReceiver<()>,
}

impl Way {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = watch::Sender::new(());
        let (told, queries) = mpsc::unbounded_channel();
        let cuts = cut.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(relay(socket, server, cuts.subscribe(), told.clone()));
            }
        });
        Self {
            address,
            cut,
            queries,
        }
    }

    /// From now on the connections that there are are dead; the server takes new ones.
    fn cut(&self) {
        self.cut.send_replace(());
    }
}

async fn relay(
    mut socket: TcpStream,
    server: SocketAddr,
    mut cut: watch::Receiver<()>,
    queries: mpsc::UnboundedSender<()>,
) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    tokio::select! {
        biased;
        _ = cut.changed() => {}
        ended = copy_bidirectional(&mut socket, &mut server) => return ended.map(drop),
    }
    drop(server);
    dead(socket, queries).await
}

/// A transaction of the scope `orders`.
async fn order(store: &Store) -> Tx<'static> {
    let begun = scope("orders")
        .run(async |_| Ok(store.begin().await?))
        .await;
    begun.unwrap()
}

#[tokio::test]
async fn ours_holds() {
    let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    let server: PgConnectOptions = cluster.url("postgres").parse().unwrap();
    let mut way = Way::to(([127, 0, 0, 1], server.get_port()).into()).await;
    let config = Config {
        connections_max: 2,
        acquire_timeout: Duration::from_millis(500),
        ..Config::postgres(format!("postgres://postgres@{}/postgres", way.address))
    };
    let store = Store::open(config).await.unwrap();
    let (mut one, mut other) = (order(&store).await, order(&store).await);

    way.cut();
    let mut queries = Box::pin(async move {
        tokio::join!(
            one.sql("select 1", binds![]),
            other.sql("select 1", binds![])
        )
    });
    for _ in 0..2 {
        tokio::select! {
            biased;
            _ = &mut queries => panic!("nobody answers"),
            query = soon(way.queries.recv()) => query.unwrap(),
        }
    }

    // As long as both hang, whoever waits is told why.
    let refused = store.begin().await.unwrap_err();
    assert!(refused.is_overload() && refused.is_retryable(), "{refused}");
    let told = refused.to_string();
    let (_, held) = told.split_once("; held by ").unwrap();
    assert_eq!(held.matches("orders (trace ").count(), 2, "{told}");

    // The timeouts fire.
    drop(queries);
    let (mut one, mut other) = (store.begin().await.unwrap(), store.begin().await.unwrap());
    for tx in [&mut one, &mut other] {
        let rows = tx.sql("select 1::bigint", binds![]).await.unwrap();
        assert_eq!(rows.one().unwrap().get::<i64>(0).unwrap(), 1);
    }
    one.commit().await.unwrap();
    other.commit().await.unwrap();
    let health = store.health().await;
    assert_eq!((health.held, health.size), (0, 2), "{health}");
    seen(
        "t17",
        Side::Ours,
        "after two queries that were timed out, a pool of 2 gives both connections at once; whoever waited meanwhile was told that `orders` holds them",
    );
}
