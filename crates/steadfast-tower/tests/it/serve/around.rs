//! What goes wrong around the guard.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::get as route;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use steadfast_core::spawn;
use steadfast_tower::{Guard, PolicyDocument};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::support::{Bomb, Lines, Panics};

use super::{Service, ask, head, until, write};

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
