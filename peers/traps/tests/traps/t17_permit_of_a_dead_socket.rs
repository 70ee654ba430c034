//! A timeout around a query on a socket that has died keeps the permit of the pool for ever.

use std::net::SocketAddr;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::support::{Side, seen, settle, soon};

/// Lets clients of PostgreSQL in, tells each query, and never answers one: what a connection looks like whose other
/// end has lost its power.
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

async fn session(mut socket: TcpStream, queries: mpsc::UnboundedSender<()>) -> std::io::Result<()> {
    let length = socket.read_u32().await?;
    socket.read_exact(&mut vec![0; length as usize - 4]).await?;
    // Authenticated; ready for a query.
    socket.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await?;
    let mut bytes = [0; 1024];
    while socket.read(&mut bytes).await? > 0 {
        let _ = queries.send(());
    }
    Ok(())
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

/// What the page says to write as long as the pool is this one.
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
