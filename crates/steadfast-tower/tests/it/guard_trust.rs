//! Whom the guard believes: headers, addresses, deadlines.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use axum::routing::get as route;
use http::{HeaderMap, Request};
use steadfast_core::{clock, context};
use steadfast_tower::guard::Peer;
use steadfast_tower::{Guard, PolicyDocument};
use tower::ServiceExt;

use crate::support::json;

const MS: Duration = Duration::from_millis(1);

const EDGE: &str = r#"
[admissions.http]
permits = 10
queue_wait = "100ms"

[timeouts.page]
timeout = "2s"

[timeouts.order]
timeout = "1s"

[routes."/orders"]
tier = "core"
deadline = "1s"
timeout = "order"
admission = "http"

[routes."/search"]
timeout = "page"
admission = "http"
"#;

const INSIDE: &str = "[trust]\nclients = \"inside\"\n";

/// What a handler sees of its request.
async fn facts(headers: HeaderMap) -> String {
    let context = context::current();
    let left = context.time_left().map(|left| left.as_millis());
    let seen = ["x-steadfast-tier", "baggage", "x-steadfast-attempt"];
    let seen = seen.map(|name| headers.contains_key(name));
    format!("{} {left:?} {seen:?}", context.tier())
}

async fn app(policy: &str) -> (Guard, Router) {
    let policy = PolicyDocument::new("policy.toml", policy).unwrap();
    let guard = Guard::new(policy).unwrap();
    let routes = Router::new()
        .route("/orders", route(facts))
        .route("/search", route(facts));
    let app = guard.protect(routes).await.unwrap();
    (guard, app)
}

async fn ask(app: &Router, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

async fn told(app: &Router, path: &str, headers: &[(&str, &str)]) -> String {
    let body = ask(app, path, headers).await.into_body();
    let bytes = axum::body::to_bytes(body, 1_000).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn at_the_edge_a_client_may_shorten_its_deadline_and_nothing_else() {
    let (_, app) = app(EDGE).await;
    let none = "[false, false, false]";

    for (headers, expected) in [
        (&[][..], "core Some(1000)"),
        (&[("x-steadfast-timeout-ms", "300")], "core Some(300)"),
        (&[("x-steadfast-timeout-ms", "90000")], "core Some(1000)"),
        (&[("grpc-timeout", "200m")], "core Some(200)"),
        (&[("x-steadfast-timeout-ms", "-5")], "core Some(1000)"),
    ] {
        assert_eq!(
            told(&app, "/orders", headers).await,
            format!("{expected} {none}")
        );
    }
    let lies = [
        ("x-steadfast-tier", "0"),
        ("baggage", "a=1"),
        ("x-steadfast-attempt", "1/3"),
    ];
    assert_eq!(
        told(&app, "/search", &lies).await,
        format!("tier 1 Some(2000) {none}")
    );
}

#[tokio::test(start_paused = true)]
async fn inside_what_our_own_services_say_holds() {
    let (_, app) = app(&format!("{EDGE}{INSIDE}")).await;

    let said = [
        ("x-steadfast-tier", "0"),
        ("x-steadfast-timeout-ms", "1500"),
        ("baggage", "a=1"),
    ];
    let order = [
        ("x-steadfast-tier", "5"),
        ("x-steadfast-timeout-ms", "1500"),
    ];

    assert!(
        told(&app, "/search", &said)
            .await
            .starts_with("core Some(1500)")
    );
    assert!(
        told(&app, "/orders", &order)
            .await
            .starts_with("tier 5 Some(1000)")
    );
    // What they do not say is as the policy has it.
    assert!(
        told(&app, "/orders", &[])
            .await
            .starts_with("core Some(1000)")
    );
    let malformed = [
        ("x-steadfast-tier", "00"),
        ("x-steadfast-timeout-ms", "soon"),
    ];
    assert!(
        told(&app, "/orders", &malformed)
            .await
            .starts_with("core Some(1000)")
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_time_is_over_is_rejected_before_anything_runs_for_it() {
    let (guard, app) = app(EDGE).await;

    let late = ask(&app, "/orders", &[("x-steadfast-timeout-ms", "0")]).await;

    assert_eq!(late.status(), 504);
    assert_eq!(late.headers()["x-steadfast-rejected"], "deadline-passed");
    let problem = json(late).await;
    assert_eq!(problem["policy"], "deadline");
    assert!(problem["trace_id"].is_string());
    assert!(guard.armed().is_clean());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_answered_in_the_time_that_is_left_is_rejected_before_it_starts() {
    let policy = PolicyDocument::new("policy.toml", EDGE).unwrap();
    let guard = Guard::new(policy).unwrap();
    let slow = route(async || clock::sleep(100 * MS).await);
    let routes = Router::new()
        .route("/orders", slow.clone())
        .route("/search", slow);
    let app = guard.protect(routes).await.unwrap();
    let hurried = [("x-steadfast-timeout-ms", "99")];

    let before = ask(&app, "/orders", &hurried).await;
    assert_eq!(
        before.headers()["x-steadfast-rejected"],
        "timed-out",
        "nothing is known yet"
    );
    for _ in 0..20 {
        assert_eq!(ask(&app, "/orders", &[]).await.status(), 200);
    }
    let began = clock::now();
    let after = ask(&app, "/orders", &hurried).await;

    assert_eq!(clock::now(), began, "it has not begun");
    assert_eq!(after.headers()["x-steadfast-rejected"], "cannot-finish");
    let problem = json(after).await;
    assert_eq!(problem["limit"], 0.099);
    assert_eq!(problem["observed"], 0.1);
    assert_eq!(
        ask(&app, "/orders", &[("x-steadfast-timeout-ms", "101")])
            .await
            .status(),
        200
    );
    // What is known is forgotten: it may have become faster.
    clock::sleep(30_000 * MS).await;
    let forgotten = ask(&app, "/orders", &hurried).await;
    assert_eq!(forgotten.headers()["x-steadfast-rejected"], "timed-out");
}

const PER_CLIENT: &str = r#"
[rates.polite]
requests = 1
period = "1m"
burst = 1
per_client = true

[timeouts.page]
timeout = "2s"

[routes."/orders"]
timeout = "page"
quota = "polite"

[routes."/search"]
timeout = "page"

[trust]
proxies = ["10.0.0.0/8"]
"#;

async fn from(app: &Router, peer: &str, forwarded: Option<&str>) -> u16 {
    let mut request = Request::get("/orders");
    if let Some(forwarded) = forwarded {
        request = request.header("x-forwarded-for", forwarded);
    }
    let mut request = request.body(Body::empty()).unwrap();
    let peer: SocketAddr = peer.parse().unwrap();
    // Either of them will do.
    if forwarded.is_some() {
        request.extensions_mut().insert(Peer(peer));
    } else {
        request.extensions_mut().insert(ConnectInfo(peer));
    }
    app.clone()
        .oneshot(request)
        .await
        .unwrap()
        .status()
        .as_u16()
}

#[tokio::test(start_paused = true)]
async fn clients_are_told_apart_by_address_and_behind_our_proxy_by_what_it_has_seen() {
    let (guard, app) = app(PER_CLIENT).await;

    assert_eq!(from(&app, "1.1.1.1:1", None).await, 200);
    assert_eq!(
        from(&app, "1.1.1.1:2", None).await,
        429,
        "the port makes no other client"
    );
    assert_eq!(from(&app, "2.2.2.2:1", Some("3.3.3.3")).await, 200);
    assert_eq!(
        from(&app, "2.2.2.2:1", Some("4.4.4.4")).await,
        429,
        "not a proxy of ours"
    );
    assert_eq!(from(&app, "10.0.0.1:1", Some("5.5.5.5")).await, 200);
    assert_eq!(
        from(&app, "10.0.0.2:1", Some("6.6.6.6, 5.5.5.5")).await,
        429
    );
    assert!(guard.armed().is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_say_where_requests_come_from_is_told() {
    let (guard, app) = app(PER_CLIENT).await;

    let statuses = [
        ask(&app, "/orders", &[]).await.status().as_u16(),
        ask(&app, "/orders", &[]).await.status().as_u16(),
    ];

    assert_eq!(statuses, [200, 429]);
    let armed = guard.armed();
    assert_eq!(armed.unknown_clients, 2);
    assert!(!armed.is_clean(), "{armed}");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_costs_nothing_but_what_it_was_to_say() {
    let policy = PolicyDocument::new("policy.toml", PER_CLIENT).unwrap();
    let builder = Guard::builder(policy).client_by(|_| -> Option<u32> { panic!("trust: hook") });
    let guard = builder.build().unwrap();
    let named = guard.layer(|request| match request.uri.path() {
        "/panics" => panic!("trust: template"),
        path => Some(path),
    });
    let app = Router::new()
        .route("/orders", route(facts))
        .route("/panics", route(facts))
        .layer(named);

    assert_eq!(ask(&app, "/orders", &[]).await.status(), 200);
    assert_eq!(ask(&app, "/panics", &[]).await.status(), 200);
    assert_eq!(guard.armed().unknown_clients, 1);
}
