//! A graceful stop waits for whoever does not leave.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use steadfast::tower::{Guard, PolicyDocument};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::support::{Side, seen, settle};

const HOUR: Duration = Duration::from_secs(3600);

/// Asks once, reads the answer, and keeps the connection.
async fn keep_alive(address: std::net::SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"served") {
        socket.read_buf(&mut answer).await.unwrap();
    }
    socket
}

#[tokio::test(start_paused = true)]
async fn the_usual_assembly_fails() {
    // As the documents of hyper show a server, with tasks that are waited for.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut server = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        let accepting = async {
            while let Ok((socket, _)) = listener.accept().await {
                let handler = service_fn(async |_: Request<Incoming>| {
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("served")))
                });
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), handler);
                connections.spawn(serving);
            }
        };
        tokio::select! {
            () = accepting => {}
            _ = stopped => {}
        }
        while connections.join_next().await.is_some() {}
    });
    let idle = keep_alive(address).await;
    stop.send(()).unwrap();
    settle().await;
    assert!(
        timeout(HOUR, &mut server).await.is_err(),
        "it waits for the idle client"
    );
    drop(idle);
    server.await.unwrap();

    // The one of axum closes idle connections. Not so one whose client is in the middle of a head.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let app = Router::new().route("/", get(async || "served"));
    let serving =
        axum::serve(listener, app).with_graceful_shutdown(async { stopped.await.unwrap() });
    let mut server = tokio::spawn(serving.into_future());
    let mut idle = keep_alive(address).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nho").await.unwrap();
    settle().await;
    stop.send(()).unwrap();
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "it is closed");
    assert!(
        timeout(HOUR, &mut server).await.is_err(),
        "it waits for the slow one"
    );
    drop(slow);
    server.await.unwrap().unwrap();
    seen(
        "t16",
        Side::Usual,
        "an hour after the stop the server still waited: that of hyper for a client that was idle, that of axum for one that had sent half of a head",
    );
}

#[tokio::test(start_paused = true)]
async fn ours_holds() {
    let policy = "timeouts.page.timeout = '2s'\nroutes.'/'.timeout = 'page'";
    let policy = PolicyDocument::new("policy.toml", policy).unwrap();
    let guard = Guard::new(policy.policy().clone()).unwrap();
    let app = Router::new().route("/", get(async || "served"));
    let app = guard.protect(app).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(guard.serve(listener, app).into_future());
    let mut idle = keep_alive(address).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nho").await.unwrap();
    settle().await;

    let begun = Instant::now();
    guard.drain().start();
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "it is closed");
    let closed = begun.elapsed();
    let served = server.await.unwrap();

    println!(
        "closed after {closed:?}, ended after {:?}, {served:?}",
        begun.elapsed()
    );
    assert!(closed < Duration::from_secs(1), "{closed:?}");
    assert!(
        begun.elapsed() <= Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
    assert!(served.drained.is_clean());
    drop(slow);
    seen(
        "t16",
        Side::Ours,
        "the idle client was sent away at once, and the server had ended within 6 seconds, though the other client was still there",
    );
}
