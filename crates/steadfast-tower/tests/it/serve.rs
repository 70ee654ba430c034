//! A server over real sockets, of HTTP/1.1 and HTTP/2, with clients that mean no good.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get as route, post};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use steadfast_core::report::Value;
use steadfast_core::{Task, clock, spawn};
use steadfast_tower::guard::{Peer, Served};
use steadfast_tower::{Guard, PolicyDocument};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::support::{Bomb, Lines, Panics};

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

#[tokio::test]
async fn over_either_protocol_requests_are_served_and_know_their_peer() {
    let service = Service::start(|serve| serve).await;

    assert!(service.answer("/page").await.ends_with("127.0.0.1"));
    let client = service.http2().await;
    let page = ask(&client, Request::get("http://a/page")).await;
    assert_eq!(page.version(), http::Version::HTTP_2);
    assert_eq!(
        page.into_body().collect().await.unwrap().to_bytes(),
        "127.0.0.1"
    );
    let panics = ask(&client, Request::get("http://a/panics")).await;
    assert_eq!(panics.status(), 500);
    assert_eq!(
        ask(&client, Request::get("http://a/page")).await.status(),
        200,
        "it goes on"
    );
    assert!(
        service.guard.armed().is_clean(),
        "{}",
        service.guard.armed()
    );
}

/// A layer around the guard that panics where the path says, with this message.
fn careless(message: &'static str) -> impl Fn(Router) -> Router {
    move |guarded: Router| {
        guarded
            .route(
                "/bare",
                route(async move || -> &str { panic!("{message}") }),
            )
            .layer(axum::middleware::from_fn(
                move |request: axum::extract::Request, next: axum::middleware::Next| async move {
                    let query = request.uri().query().map(str::to_owned);
                    if query.as_deref() == Some("before") {
                        panic!("{message}");
                    }
                    let answer = next.run(request).await;
                    match query.as_deref() {
                        Some("after") => panic!("{message}"),
                        Some("frame") => answer.map(|_| {
                            Body::new(Bomb {
                                frames: 1,
                                in_frame: Some(message),
                                ..Bomb::default()
                            })
                        }),
                        _ => answer,
                    }
                },
            ))
    }
}

/// Serves a page that is guarded, with something around the guard.
async fn around(layer: impl Fn(Router) -> Router) -> Service {
    let policy = "[timeouts.page]\ntimeout = \"5s\"\n[routes.\"/page\"]\ntimeout = \"page\"\n";
    let guard = Guard::new(PolicyDocument::new("policy.toml", policy).unwrap()).unwrap();
    let app = Router::new().route("/page", route(async || "guarded"));
    let app = layer(guard.protect(app).await.unwrap());
    Service::serve(
        guard,
        app,
        Arc::new(Semaphore::new(0)),
        Arc::default(),
        |serve| serve,
    )
    .await
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn over_http1_a_panic_around_the_guard_is_answered_with_its_trace_and_told_once() {
    let panics = Panics::of("careless: http1");
    let service = around(careless("careless: http1")).await;
    // One connection for all of them.
    let mut socket = service.connect().await;

    for path in ["/page?before", "/page?after", "/bare"] {
        let parent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01");
        write(
            &mut socket,
            &format!("GET {path} HTTP/1.1\r\nhost: a\r\n{parent}\r\nx-request-id: mine\r\n\r\n"),
        )
        .await;
        let answer = head(&mut socket).await;
        let length = answer.split("content-length: ").nth(1);
        let length = length.and_then(|text| text.split("\r\n").next()).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        socket.read_exact(&mut body).await.unwrap();
        let body = String::from_utf8(body).unwrap();

        assert!(answer.starts_with("HTTP/1.1 500"), "{path}: {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
        assert!(answer.contains("x-request-id: mine"), "{answer}");
        assert!(body.contains(TRACE) && !body.contains("careless"), "{body}");
    }
    write(&mut socket, "GET /page HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(head(&mut socket).await.starts_with("HTTP/1.1 200"));

    let heard = panics.heard();
    assert_eq!(heard.len(), 3, "{heard:?}");
    let told =
        |one: &crate::support::Heard| one.contained && one.trace_id.as_deref() == Some(TRACE);
    assert!(heard.iter().all(told), "{heard:?}");
    assert_eq!(service.guard.armed().past, 0, "a panic is no way past it");
}

#[tokio::test]
async fn over_http2_a_panic_around_the_guard_leaves_its_neighbours_alone() {
    let panics = Panics::of("careless: http2");
    let service = around(careless("careless: http2")).await;
    let client = service.http2().await;

    for path in ["/page?before", "/page?after", "/bare"] {
        let answer = ask(&client, Request::get(format!("http://a{path}"))).await;
        assert_eq!(answer.status(), 500, "{path}");
        let id = answer.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let problem = crate::support::json(answer).await;
        assert_eq!(
            problem["trace_id"], id,
            "the trace that the server has begun"
        );
        let heard = panics.heard();
        assert_eq!(heard.last().unwrap().trace_id, Some(id), "{path}");
    }
    let broken = ask(&client, Request::get("http://a/page?frame")).await;
    assert!(broken.into_body().collect().await.is_err(), "cut off");
    assert_eq!(
        ask(&client, Request::get("http://a/page")).await.status(),
        200,
        "the connection goes on"
    );
    assert_eq!(panics.heard().len(), 4);
}

#[tokio::test]
async fn the_line_of_a_request_has_the_trace_that_the_server_began() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let service = around(|guarded| guarded).await;

    let answer = service.answer("/page").await;

    let id = answer.split("x-request-id: ").nth(1).unwrap();
    let id = id.split("\r\n").next().unwrap();
    until(|| !lines.with("request ended").is_empty()).await;
    let line = lines.with("request ended").remove(0);
    assert!(line.contains(&format!("trace_id={id}")), "{id}: {line}");
}

#[tokio::test]
async fn a_service_whose_clone_panics_is_answered_for() {
    struct Fragile(Router);

    impl Clone for Fragile {
        fn clone(&self) -> Self {
            panic!("fragile: clone")
        }
    }

    impl tower::Service<Request<Incoming>> for Fragile {
        type Response = axum::response::Response;
        type Error = std::convert::Infallible;
        type Future = axum::routing::future::RouteFuture<Self::Error>;

        fn poll_ready(
            &mut self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Self::Error>> {
            tower::Service::<Request<Incoming>>::poll_ready(&mut self.0, cx)
        }

        fn call(&mut self, request: Request<Incoming>) -> Self::Future {
            self.0.call(request)
        }
    }

    let guard = Guard::new(PolicyDocument::new("policy.toml", "").unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = guard.serve(listener, Fragile(Router::new()));
    let _served = spawn("server", async move { serve.await });

    for _ in 0..2 {
        let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let answer = crate::support::exchange(address, request).await;
        assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    }
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

#[tokio::test]
async fn what_is_no_request_is_answered_counted_and_told_once_a_second() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let service = Service::start(|serve| serve.header_read(Duration::from_millis(50))).await;
    let long = format!(
        "GET /page HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "y".repeat(64 << 10)
    );
    for (bytes, status) in [
        ("\x16\x03\x01\x02\x00\x01\x00", "HTTP/1.1 400"),
        ("GET /page HTTP/1.1\r\nno header\r\n\r\n", "HTTP/1.1 400"),
        (&long, "HTTP/1.1 431"),
        ("GET /pa", ""),
    ] {
        let mut socket = service.connect().await;
        let _ = socket.write_all(bytes.as_bytes()).await;
        let answer = rest(socket).await;
        // What is left unread makes a socket forget what it has sent.
        assert!(answer.starts_with(status) || answer.is_empty(), "{answer}");
    }

    // One server among those of all tests; no other one is asked for such things.
    until(|| counted("malformed", 2)).await;
    until(|| !lines.with("kind=\"too_large\"").is_empty()).await;
    let told = lines.with("a request was refused before the guard");
    let of = |kind: &str| {
        let kind = format!("kind={kind:?}");
        told.iter().filter(|line| line.contains(&kind)).count()
    };
    assert_eq!((of("malformed"), of("too_large"), told.len()), (1, 1, 2));
}

#[tokio::test]
async fn over_http2_a_client_of_grpc_gets_trailers_only() {
    let service = Service::start(|serve| serve).await;
    let client = service.http2().await;

    for (path, status) in [("http://a/call/Slow", "4"), ("http://a/call/Panics", "13")] {
        let request = Request::post(path).header("content-type", "application/grpc");
        let answer = ask(&client, request).await;

        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["grpc-status"], status);
        assert!(
            hyper::body::Body::is_end_stream(answer.body()),
            "nothing comes after the head"
        );
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let service = Service::start(|serve| serve.header_read(Duration::from_millis(50))).await;

    let silent = service.connect().await;
    let mut slow = service.connect().await;
    write(&mut slow, "GET /page HTTP/1.1\r\nhost: a\r\nx-slow: ").await;
    let mut second = service.send("/page").await;
    assert!(head(&mut second).await.starts_with("HTTP/1.1 200"));
    write(&mut second, "GET /pa").await;

    for socket in [silent, slow, second] {
        let text = rest(socket).await;
        assert!(!text.contains("200 OK"), "{text}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_kept_longer_than_a_head_may_take() {
    let service = Service::start(|serve| serve.header_read(Duration::from_millis(30))).await;
    let mut socket = service.send("/page").await;
    head(&mut socket).await;
    let mut body = [0; 9];
    socket.read_exact(&mut body).await.unwrap();

    clock::sleep(Duration::from_millis(100)).await;

    write(
        &mut socket,
        "GET /page HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(rest(socket).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_flood_of_headers_is_answered_and_not_stored() {
    let service = Service::start(|serve| serve).await;
    let many = "x-flood: 1\r\n".repeat(200);
    let long = format!("x-long: {}\r\n", "y".repeat(64 << 10));

    for (name, headers) in [("many", many), ("long", long)] {
        let mut socket = service.connect().await;
        let request = format!("GET /page HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
        let _ = socket.write_all(request.as_bytes()).await;
        let answer = rest(socket).await;
        let refused = answer.starts_with("HTTP/1.1 431") || answer.is_empty();
        assert!(refused, "{name}: {answer}");
    }
    assert!(service.answer("/page").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_that_stops_reading_is_not_waited_for_and_its_permit_comes_back() {
    let service = Service::start(|serve| serve.write(Duration::from_millis(50))).await;

    // Both permits, and no end in sight.
    let mut stuck = [service.send("/large").await, service.send("/large").await];
    for socket in &mut stuck {
        assert!(head(socket).await.starts_with("HTTP/1.1 200"));
    }

    service.go_on.add_permits(1);
    while !service.answer("/wait").await.starts_with("HTTP/1.1 200") {}
}

/// Serves over something that keeps bytes until it is flushed, as TLS does: all of `/core/large`.
fn over_what_keeps_bytes(
    serve: steadfast_tower::guard::Serve<Router>,
) -> steadfast_tower::guard::Serve<Router> {
    serve.over(|stream| async { Ok(BufWriter::with_capacity(40 << 20, stream)) })
}

/// Shakes hands by one letter: well, badly, with a panic, or never.
async fn shake(mut stream: TcpStream) -> io::Result<TcpStream> {
    match stream.read_u8().await? {
        b'w' => Ok(stream),
        b'b' => Err(io::Error::other("no hand")),
        b'p' => panic!("serve: handshake"),
        _ => std::future::pending().await,
    }
}

#[tokio::test]
async fn a_handshake_that_comes_to_nothing_is_closed_counted_and_in_nobodys_way() {
    let panics = Panics::of("serve: handshake");
    let service = Service::start(|serve| {
        let serve = serve.over(shake);
        serve.connections(1).header_read(Duration::from_millis(50))
    })
    .await;

    for letter in ["b", "p", "never", ""] {
        let mut socket = service.connect().await;
        write(&mut socket, letter).await;
        assert_eq!(rest(socket).await, "", "{letter}");
    }
    let mut socket = service.connect().await;
    let request = "wGET /page HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    write(&mut socket, request).await;
    assert!(rest(socket).await.ends_with("127.0.0.1"));

    assert_eq!(panics.heard().len(), 1);
    // One server among those of all tests; no other one shakes hands so badly.
    until(|| counted("handshake", 4)).await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_handshake() {
    let service = Service::start(|serve| serve.over(shake)).await;
    let mut socket = service.connect().await;
    write(&mut socket, "never").await;
    let mut shaken = service.connect().await;
    write(&mut shaken, "wGET /core HTTP/1.1\r\nhost: a\r\n\r\n").await;
    service.runs(1).await;

    service.guard.drain().start();

    assert_eq!(rest(socket).await, "");
    service.go_on.add_permits(1);
    assert!(rest(shaken).await.ends_with("done"));
    assert_eq!(service.served.await.unwrap().cut, 0);
}

/// Has a last word that nobody takes.
struct LastWord(TcpStream);

impl AsyncRead for LastWord {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, to)
    }
}

impl AsyncWrite for LastWord {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn what_stands_over_a_connection_and_is_not_taken_is_not_waited_for() {
    let keeps: Change = |serve| {
        let serve = over_what_keeps_bytes(serve).connections(1);
        serve.write(Duration::from_millis(50))
    };
    let last_word: Change = |serve| {
        let serve = serve.over(|stream| async { Ok(LastWord(stream)) });
        serve.connections(1).write(Duration::from_millis(50))
    };
    for (change, path, connection) in [
        (keeps, "/core/large", "keep-alive"),
        (last_word, "/page", "close"),
    ] {
        let service = Service::start(change).await;
        let mut stuck = service.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: {connection}\r\n\r\n");
        write(&mut stuck, &request).await;
        assert!(head(&mut stuck).await.starts_with("HTTP/1.1 200"));

        // Its place comes back: long before an idle connection is closed.
        let mut next = service.send("/page").await;
        let answered = clock::timeout(Duration::from_secs(60), head(&mut next)).await;

        assert!(answered.expect(path).starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn a_stream_of_http2_that_is_not_read_does_not_hold_its_permit() {
    let service = Service::start(|serve| serve.write(Duration::from_millis(50))).await;
    let client = service.http2().await;
    let unread = [
        ask(&client, Request::get("http://a/large")).await,
        ask(&client, Request::get("http://a/large")).await,
    ];
    assert!(unread.iter().all(|answer| answer.status() == 200));

    service.go_on.add_permits(1);
    while !service.answer("/wait").await.starts_with("HTTP/1.1 200") {}
}

#[tokio::test]
async fn a_client_that_vanishes_is_told_as_499_and_its_permit_comes_back() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let service = Service::start(|serve| serve).await;
    let gone = [service.send("/wait").await, service.send("/wait").await];
    service.runs(2).await;

    drop(gone);

    service.runs(0).await;
    until(|| lines.with("status=499").len() == 2).await;
    assert!(lines.with("status=499")[0].contains("ended=\"client_gone\""));
    service.go_on.add_permits(2);
    assert!(service.answer("/wait").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn more_connections_than_may_be_wait_for_their_turn() {
    let service = Service::start(|serve| serve.connections(1)).await;
    let mut first = service.send("/page").await;
    head(&mut first).await;

    let mut waits = Box::pin(service.answer("/page"));
    for _ in 0..100 {
        assert!(crate::support::poll_once(waits.as_mut()).await.is_none());
        tokio::task::yield_now().await;
    }
    drop(first);

    assert!(waits.await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_drain_closes_idle_connections_at_once_and_serves_what_has_begun() {
    let service = Service::start(|serve| serve).await;
    let mut idle = service.send("/page").await;
    head(&mut idle).await;
    let core = service.send("/core").await;
    service.runs(1).await;

    service.guard.drain().start();

    assert!(
        rest(idle).await.ends_with("127.0.0.1"),
        "closed, and nothing else was waited for"
    );
    service.go_on.add_permits(1);
    assert!(rest(core).await.ends_with("done"));
    let served = service.served.await.unwrap();
    assert!(served.drained.is_clean());
    assert_eq!(served.cut, 0);
    assert!(
        TcpStream::connect(service.address).await.is_err(),
        "nobody listens"
    );
}

#[tokio::test]
async fn what_is_below_core_is_cut_off_first() {
    let service = Service::start(|serve| serve).await;
    let (lower, core) = (service.send("/wait").await, service.send("/core").await);
    service.runs(2).await;

    service.guard.drain().start();

    assert_eq!(
        rest(lower).await,
        "",
        "after the time of what is below core"
    );
    service.go_on.add_permits(1);
    assert!(rest(core).await.ends_with("done"));
    assert_eq!(service.served.await.unwrap().cut, 1);
}

#[tokio::test]
async fn an_answer_of_core_that_is_not_sent_yet_is_not_cut_off_with_what_is_below() {
    core_that_is_not_sent_is_not_cut_off(|serve| serve).await;
    core_that_is_not_sent_is_not_cut_off(over_what_keeps_bytes).await;
}

async fn core_that_is_not_sent_is_not_cut_off(change: Change) {
    let service = Service::start(change).await;
    let (lower, mut core) = (
        service.send("/wait").await,
        service.send("/core/large").await,
    );
    service.runs(1).await;
    // Then its handler has ended, and all of the body is given.
    assert!(head(&mut core).await.starts_with("HTTP/1.1 200"));

    service.guard.drain().start();

    assert_eq!(rest(lower).await, "", "the time of what is below is over");
    assert_eq!(rest(core).await.len(), 32 << 20);
    assert_eq!(service.served.await.unwrap().cut, 1);
}

#[tokio::test]
async fn a_server_that_is_dropped_takes_its_connections_along() {
    let service = Service::start(|serve| serve).await;
    let waits = service.send("/wait").await;
    service.runs(1).await;

    service.served.abort();

    assert_eq!(rest(waits).await, "");
    service.runs(0).await;
}

#[tokio::test]
async fn what_is_served_past_the_guard_is_seen_and_told() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let policy = "[timeouts.page]\ntimeout = \"1s\"\n[routes.\"/page\"]\ntimeout = \"page\"\n";
    let guard = Guard::new(PolicyDocument::new("policy.toml", policy).unwrap()).unwrap();
    let app = Router::new().route("/page", route(async || "guarded"));
    let app = guard.protect(app).await.unwrap();
    // Behind its back.
    let exempt = Router::new().route("/metrics", route(async || "1"));
    let app = app.route("/past", route(async || "past"));
    let app = app.merge(exempt.layer(guard.exempt()));
    let (go_on, running) = (Arc::new(Semaphore::new(0)), Arc::default());
    let service = Service::serve(guard, app, go_on, running, |serve| serve).await;

    for (path, past) in [("/page", 0), ("/past", 1), ("/metrics", 1), ("/past", 2)] {
        service.answer(path).await;
        assert_eq!(service.guard.armed().past, past, "{path}");
    }

    assert!(!service.guard.armed().is_clean());
    let told = lines.with("a request was served past the guard");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("path=\"/past\""), "{told:?}");
}

#[tokio::test]
async fn a_connection_that_becomes_another_protocol_counts_until_it_ends() {
    let service = Service::start(|serve| serve.header_read(Duration::from_millis(30))).await;
    let upgrade = async || {
        let mut socket = service.connect().await;
        let request =
            "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: talk\r\n\r\n";
        write(&mut socket, request).await;
        let head = head(&mut socket).await;
        (socket, head)
    };

    let (mut first, switched) = upgrade().await;
    assert!(switched.starts_with("HTTP/1.1 101"), "{switched}");
    let mut welcome = [0; 7];
    first.read_exact(&mut welcome).await.unwrap();
    // For longer than a head may take: these bytes are none.
    write(&mut first, "hello").await;
    clock::sleep(Duration::from_millis(60)).await;
    let (_, second) = upgrade().await;
    assert!(second.starts_with("HTTP/1.1 503"), "{second}");
    write(&mut first, "still here").await;
    drop(first);

    while !upgrade().await.1.starts_with("HTTP/1.1 101") {}
}
