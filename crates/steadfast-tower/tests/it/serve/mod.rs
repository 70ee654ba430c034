//! A server over real sockets, of HTTP/1.1 and HTTP/2, with clients that mean no good.

mod around;
mod connections;
mod drain;
mod handshake;
mod hostile;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get as route, post};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use steadfast_core::report::Value;
use steadfast_core::{Task, clock, spawn};
use steadfast_tower::guard::{Peer, Served};
use steadfast_tower::{Guard, PolicyDocument};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

const POLICY: &str = r#"
[admissions.http]
permits = 2
queue = 1
queue_wait = "20ms"

[timeouts.page]
timeout = "5s"

[timeouts.quick]
timeout = "50ms"

[streams.live]
connections = 1
idle = "10s"

[routes."/page"]
timeout = "page"

[routes."/wait"]
timeout = "page"
admission = "http"

[routes."/core"]
tier = "core"
timeout = "page"

[routes."/core/large"]
tier = "core"
timeout = "page"

[routes."/large"]
timeout = "page"
admission = "http"

[routes."/panics"]
timeout = "page"

[routes."POST /call/Slow"]
timeout = "quick"

[routes."POST /call/Panics"]
timeout = "page"

[routes."/upgrade"]
kind = "stream"
stream = "live"

[drain]
lower = "100ms"
core = "20s"
"#;

/// A served service, and what its handlers wait for.
struct Service {
    guard: Guard,
    address: SocketAddr,
    go_on: Arc<Semaphore>,
    running: Arc<AtomicUsize>,
    served: Task<Served>,
}

/// How a test changes the server.
type Change = fn(steadfast_tower::guard::Serve<Router>) -> steadfast_tower::guard::Serve<Router>;

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service {
    async fn start(change: Change) -> Self {
        let policy = PolicyDocument::new("policy.toml", POLICY).unwrap_or_else(|e| panic!("{e}"));
        let guard = Guard::new(policy).unwrap();
        let (go_on, running) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = {
            let (go_on, running) = (go_on.clone(), running.clone());
            async move || {
                running.fetch_add(1, Ordering::SeqCst);
                let _running = Running(running.clone());
                go_on.acquire().await.unwrap().forget();
                "done"
            }
        };
        let upgrade = route(async |request: axum::extract::Request| {
            let upgraded = hyper::upgrade::on(request);
            spawn("talk", async move {
                // Until the client has nothing more to say.
                let mut talk = TokioIo::new(upgraded.await.unwrap());
                talk.write_all(b"welcome").await.unwrap();
                let _ = talk.read_to_end(&mut Vec::new()).await;
            });
            let mut response = Response::new(Body::empty());
            *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert("connection", "upgrade".parse().unwrap());
            headers.insert("upgrade", "talk".parse().unwrap());
            response
        });
        let routes = Router::new()
            .route(
                "/page",
                route(async |peer: axum::Extension<Peer>| peer.0.0.ip().to_string()),
            )
            .route("/wait", route(work.clone()))
            .route("/core", route(work))
            .route("/core/large", route(async || vec![b'x'; 32 << 20]))
            .route("/large", route(async || vec![b'x'; 64 << 20]))
            .route(
                "/panics",
                route(async || -> &str { panic!("serve: handler") }),
            )
            .route(
                "/call/Slow",
                post(async || std::future::pending::<()>().await),
            )
            .route(
                "/call/Panics",
                post(async || -> &str { panic!("serve: call") }),
            )
            .route("/upgrade", upgrade);
        let app = guard.protect(routes).await.unwrap();
        Self::serve(guard, app, go_on, running, change).await
    }

    async fn serve(
        guard: Guard,
        app: Router,
        go_on: Arc<Semaphore>,
        running: Arc<AtomicUsize>,
        change: Change,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = change(guard.serve(listener, app));
        let served = spawn("server", async move { serve.await });
        Self {
            guard,
            address,
            go_on,
            running,
            served,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request that keeps the connection.
    async fn send(&self, path: &str) -> TcpStream {
        let mut socket = self.connect().await;
        write(
            &mut socket,
            &format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"),
        )
        .await;
        socket
    }

    async fn answer(&self, path: &str) -> String {
        let mut socket = self.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        write(&mut socket, &request).await;
        rest(socket).await
    }

    /// Waits until so many handlers run.
    async fn runs(&self, count: usize) {
        until(|| self.running.load(Ordering::SeqCst) == count).await;
    }

    async fn http2(&self) -> SendRequest<Empty<Bytes>> {
        let io = TokioIo::new(self.connect().await);
        let executor = TokioExecutor::new();
        let (client, connection) = hyper::client::conn::http2::handshake(executor, io)
            .await
            .unwrap();
        spawn("client", async move {
            let _ = connection.await;
        });
        client
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    let limit = clock::now() + Duration::from_secs(60);
    while !holds() {
        assert!(clock::now() < limit, "it does not come to that");
        tokio::task::yield_now().await;
    }
}

async fn write(socket: &mut TcpStream, text: &str) {
    socket.write_all(text.as_bytes()).await.unwrap();
}

/// Reads until the server closes.
async fn rest(mut socket: TcpStream) -> String {
    let mut text = Vec::new();
    let _ = socket.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

/// Reads the head of an answer.
async fn head(socket: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(socket.read_u8().await.expect("there is a head"));
    }
    String::from_utf8(text).unwrap()
}

async fn ask(
    client: &SendRequest<Empty<Bytes>>,
    request: http::request::Builder,
) -> Response<Incoming> {
    let request: Request<_> = request.body(Empty::new()).unwrap();
    client.clone().send_request(request).await.unwrap()
}

/// Serves over something that keeps bytes until it is flushed, as TLS does: all of `/core/large`.
fn over_what_keeps_bytes(
    serve: steadfast_tower::guard::Serve<Router>,
) -> steadfast_tower::guard::Serve<Router> {
    serve.over(|stream| async { Ok(BufWriter::with_capacity(40 << 20, stream)) })
}

/// Says whether some server has counted so many ends of this kind.
fn counted(kind: &str, count: u64) -> bool {
    let snapshot = steadfast_core::report::snapshot();
    snapshot.metrics().any(|metric| {
        metric.name == "steadfast_serve_connection_errors_total"
            && metric.labels.iter().any(|(_, one)| one.as_str() == kind)
            && metric.value == Value::Counter(count)
    })
}
