//! Answers that do not end by themselves, and clients of gRPC.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{get as route, post};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use steadfast_core::clock::{self, Alarm};
use steadfast_tower::guard::DETECTED_STREAMS;
use steadfast_tower::{Guard, PolicyDocument};
use tower::ServiceExt;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A body with a frame from time to time, and no end.
struct Ticks {
    every: Duration,
    next: Alarm,
}

impl Ticks {
    fn every(every: Duration) -> Body {
        Body::new(Self {
            every,
            next: Alarm::new(clock::now() + every),
        })
    }
}

impl http_body::Body for Ticks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::ready!(self.next.poll_over(cx));
        let next = clock::now() + self.every;
        self.next.set(next);
        Poll::Ready(Some(Ok(Frame::data("data: tick\n\n".into()))))
    }
}

const POLICY: &str = r#"
[admissions.http]
permits = 1
queue = 1
queue_wait = "10ms"

[timeouts.page]
timeout = "2s"

[streams.live]
connections = 2
idle = "5s"

[routes."/live"]
kind = "stream"
stream = "live"
admission = "http"

[routes."/page"]
timeout = "page"
admission = "http"

[routes."/undeclared"]
timeout = "page"
admission = "http"
"#;

async fn app(policy: &str, tick: Duration) -> (Guard, Router) {
    let policy = PolicyDocument::new("policy.toml", policy).unwrap_or_else(|e| panic!("{e}"));
    let guard = Guard::new(policy).unwrap();
    let undeclared = route(async move || {
        let events = [("content-type", "text/event-stream; charset=utf-8")];
        (events, Ticks::every(tick))
    });
    let routes = Router::new()
        .route("/live", route(async move || Ticks::every(tick)))
        .route("/page", route(async || "a page"))
        .route("/undeclared", undeclared);
    let app = guard.protect(routes).await.unwrap();
    (guard, app)
}

async fn ask(app: &Router, path: &str) -> Response {
    let request = Request::get(path).body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn streams_have_connections_of_their_own_until_they_end() {
    let (guard, app) = app(POLICY, SECOND).await;
    let mut first = ask(&app, "/live").await.into_body();
    let second = ask(&app, "/live").await;
    assert_eq!(second.status(), 200);

    let third = ask(&app, "/live").await;
    assert_eq!(third.status(), 503);
    assert_eq!(third.headers()["x-steadfast-rejected"], "overloaded");
    assert!(third.headers().contains_key("retry-after"));
    let problem = crate::support::json(third).await;
    assert_eq!(problem["policy"], "live");
    assert_eq!(
        (&problem["limit"], &problem["observed"]),
        (&2.into(), &3.into())
    );
    assert_eq!(problem["unit"], "streams at once");
    assert_eq!(
        ask(&app, "/page").await.status(),
        200,
        "they hold no permits of others"
    );

    // Far beyond the timeout of any page.
    for _ in 0..100 {
        assert!(first.frame().await.unwrap().is_ok());
    }
    drop(first);
    let next = ask(&app, "/live").await;
    assert_eq!(next.status(), 200);
    assert_eq!(ask(&app, "/live").await.status(), 503);
    assert!(guard.armed().is_clean(), "{}", guard.armed());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_stands_still_is_cut_off_and_counted() {
    let (_, app) = app(POLICY, 6 * SECOND).await;

    let mut body = ask(&app, "/live").await.into_body();

    let error = body.frame().await.unwrap().unwrap_err();
    assert!(format!("{error:?}").contains("Idle(5s)"), "{error:?}");
    // Its connection is free although the body is still there.
    for _ in 0..2 {
        std::mem::forget(ask(&app, "/live").await);
    }
    drop(body);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_turns_out_to_be_a_stream_gives_its_permit_back_and_is_told() {
    let (guard, app) = app(POLICY, SECOND).await;

    let streams: Vec<_> = [
        ask(&app, "/undeclared").await,
        ask(&app, "/undeclared").await,
    ]
    .into();

    assert!(streams.iter().all(|response| response.status() == 200));
    assert_eq!(
        ask(&app, "/page").await.status(),
        200,
        "the only permit is free"
    );
    let armed = guard.armed();
    assert_eq!(armed.streaming, ["/undeclared"]);
    assert!(!armed.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_found_too_late_is_no_proof_that_nothing_was_done() {
    let (_guard, app) = app(POLICY, SECOND).await;
    let mut open = Vec::new();
    for _ in 0..DETECTED_STREAMS {
        open.push(ask(&app, "/undeclared").await);
    }

    let late = ask(&app, "/undeclared").await;

    assert_eq!(late.status(), 503);
    assert!(late.headers().contains_key("retry-after"));
    // The handler has answered: a retry of the caller must not take it for unsent.
    assert!(!late.headers().contains_key("x-steadfast-rejected"));
    open.pop();
    assert_eq!(ask(&app, "/undeclared").await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn connections_are_more_or_fewer_after_a_change() {
    use steadfast_tower::policy::Signed;
    let (guard, app) = app(POLICY, SECOND).await;
    let _open = [ask(&app, "/live").await, ask(&app, "/live").await];
    let hold = |value: &str| {
        let path = "streams.live.connections".parse().unwrap();
        guard.hold(
            path,
            value,
            60 * SECOND,
            Signed::new("ann", "INC-7").unwrap(),
        )
    };

    hold("3").unwrap();
    let third = ask(&app, "/live").await;
    assert_eq!(third.status(), 200);
    hold("1").unwrap();
    drop(third);
    assert_eq!(
        ask(&app, "/live").await.status(),
        503,
        "two are open, of one"
    );
}

#[tokio::test(start_paused = true)]
async fn a_budget_in_shadow_mode_lets_everybody_pass() {
    let policy = POLICY.replace("idle = \"5s\"", "idle = \"5s\"\nshadow = true");
    let (guard, app) = app(&policy, SECOND).await;

    let open: Vec<_> = [
        ask(&app, "/live").await,
        ask(&app, "/live").await,
        ask(&app, "/live").await,
    ]
    .into();

    assert!(open.iter().all(|response| response.status() == 200));
    assert_eq!(guard.armed().shadowed, ["streams.live"]);
}

const GRPC: &str = r#"
[timeouts.call]
timeout = "100ms"

[rates.calls]
requests = 1
period = "1m"
burst = 1

[routes."POST /shop.Orders/Slow"]
timeout = "call"

[routes."POST /shop.Orders/Panics"]
timeout = "call"

[routes."POST /shop.Orders/Limited"]
timeout = "call"
quota = "calls"
"#;

async fn call(app: &Router, method: &str, kind: &str) -> Response {
    let request = Request::post(format!("/shop.Orders/{method}")).header("content-type", kind);
    let request = request.body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_client_of_grpc_is_told_in_its_own_words() {
    let policy = PolicyDocument::new("policy.toml", GRPC).unwrap();
    let guard = Guard::new(policy).unwrap();
    let routes = Router::new()
        .route(
            "/shop.Orders/Slow",
            post(async || clock::sleep(SECOND).await),
        )
        .route(
            "/shop.Orders/Panics",
            post(async || -> &str { panic!("grpc: handler") }),
        )
        .route("/shop.Orders/Limited", post(async || "served"));
    let app = guard.protect(routes).await.unwrap();

    let grpc = "application/grpc+proto";
    let slow = call(&app, "Slow", grpc).await;
    let panics = call(&app, "Panics", "Application/GRPC").await;
    assert_eq!(call(&app, "Limited", grpc).await.status(), 200);
    let limited = call(&app, "Limited", grpc).await;

    for (response, code, message) in [
        (
            slow,
            "4",
            "no answer in time (policy POST /shop.Orders/Slow): ",
        ),
        (panics, "13", "internal error"),
        (
            limited,
            "8",
            "too many requests from one client (policy calls): 2 of at most 1",
        ),
    ] {
        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.headers();
        assert_eq!(headers["content-type"], "application/grpc");
        assert_eq!(headers["grpc-status"], code);
        let said = headers["grpc-message"].to_str().unwrap();
        assert!(said.starts_with(message), "{said}");
        assert!(headers.contains_key("x-request-id"));
        if code == "8" {
            assert_eq!(headers["grpc-retry-pushback-ms"], "60000");
        }
        let body = axum::body::to_bytes(response.into_body(), 100)
            .await
            .unwrap();
        assert!(body.is_empty(), "trailers only");
    }
    let web = call(&app, "Slow", "application/grpc-web").await;
    assert_eq!(web.status(), 504);
    clock::sleep(MS).await;
}
