//! What anybody may send, and what must not come of it: over a guard at the edge.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get as route;
use http::{HeaderValue, Request, StatusCode};
use steadfast_core::decide::admission::AdmissionConfig;
use steadfast_core::decide::rate::Quota;
use steadfast_core::{clock, context, report};
use steadfast_tower::guard::Peer;
use steadfast_tower::{AdmissionLayer, Guard, PolicyDocument, RateLimitLayer};
use tower::{Layer, ServiceExt, service_fn};

const POLICY: &str = r#"
[rates.polite]
requests = 1
period = "1s"
burst = 1
per_client = true

[timeouts.page]
timeout = "2s"

[routes."/page/{id}"]
timeout = "page"

[routes."/limited"]
timeout = "page"
quota = "polite"
"#;

async fn app() -> (Guard, Router) {
    let guard = Guard::new(PolicyDocument::new("policy.toml", POLICY).unwrap()).unwrap();
    let facts = route(async || {
        let context = context::current();
        let left = context.time_left().unwrap_or(Duration::MAX);
        format!(
            "{} {} {}",
            context.tier(),
            left.as_secs(),
            context.trace_id().is_some()
        )
    });
    let routes = Router::new()
        .route("/page/{id}", facts.clone())
        .route("/limited", facts);
    let app = guard.protect(routes).await.unwrap();
    (guard, app)
}

async fn send(app: &Router, headers: &[(&'static str, Vec<u8>)]) -> Response {
    let mut request = Request::get("/page/1").body(Body::empty()).unwrap();
    for (name, value) in headers {
        // Whatever a parser of HTTP lets through.
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request.headers_mut().append(*name, value);
        }
    }
    app.clone().oneshot(request).await.unwrap()
}

/// What a client might put into a header.
fn poison() -> Vec<Vec<u8>> {
    let texts = [
        "",
        " ",
        "0",
        "-1",
        "99999999999999999999999999999999",
        "NaN",
        "1e309",
        "00-00000000000000000000000000000000-0000000000000000-00",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
        "=,=,=",
        "a=b;c=d;;;,,,",
        "%00%0a%0d",
        "../../etc/passwd",
        "${jndi:ldap://a}",
        "1S2M",
        "9H",
    ];
    let mut all: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.push(vec![b'a'; 100_000]);
    all.push("k=v,".repeat(20_000).into_bytes());
    all.push(vec![0xff, 0xfe, 0x80]);
    all.push("é\u{202e}\t".as_bytes().to_vec());
    all
}

#[tokio::test(start_paused = true)]
async fn no_header_harms_a_request_or_is_believed() {
    let (guard, app) = app().await;
    let names = [
        "traceparent",
        "tracestate",
        "baggage",
        "x-request-id",
        "x-steadfast-tier",
        "x-steadfast-attempt",
        "x-envoy-expected-rq-timeout-ms",
        "x-forwarded-for",
    ];

    for name in names {
        for value in poison() {
            let twice = [(name, value.clone()), (name, value)];
            let response = send(&app, &twice).await;

            assert_eq!(response.status(), 200, "{name}");
            let id = response.headers()["x-request-id"].as_bytes().to_owned();
            assert!((1..=64).contains(&id.len()), "{name}: {id:?}");
            let body = axum::body::to_bytes(response.into_body(), 1_000)
                .await
                .unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            assert!(
                body.starts_with("tier 1 ") && body.ends_with(" true"),
                "{name}: {body}"
            );
        }
    }
    for name in ["grpc-timeout", "x-steadfast-timeout-ms"] {
        for value in poison() {
            // Zero has passed, and all else is a time or nothing.
            let status = send(&app, &[(name, value)]).await.status().as_u16();
            assert!([200, 504].contains(&status), "{name}: {status}");
        }
    }
    assert!(guard.armed().is_clean(), "{}", guard.armed());
}

/// How much the process tells: what grows with what clients make up, grows here.
fn told() -> usize {
    report::snapshot().metrics().count()
}

#[tokio::test(start_paused = true)]
async fn unknown_routes_and_methods_by_the_hundred_thousand_leave_nothing_behind() {
    let (guard, app) = app().await;
    let ask = async |n: u32| {
        let method = format!("M{}", n % 50_000);
        let request = Request::builder()
            .method(method.as_str())
            .uri(format!("/no/{n}?q={n}"));
        let request = request.body(Body::empty()).unwrap();
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), 404);
    };
    for n in 0..100 {
        ask(n).await;
    }
    let before = told();

    for n in 0..100_000 {
        ask(n).await;
    }

    // Other tests of this process add theirs, in small number.
    assert!(told() < before + 2_000, "{} after {before}", told());
    let armed = guard.armed();
    assert!(armed.ungoverned.is_empty(), "{armed}");
    assert_eq!(armed.requests, 100_100);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_clients_is_counted_in_fixed_memory_and_harms_no_other() {
    let (_, app) = app().await;
    let ask = async |address: [u8; 4]| {
        let mut request = Request::get("/limited").body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer((address, 1).into()));
        app.clone()
            .oneshot(request)
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(ask([192, 0, 2, 1]).await, 200);
    let before = told();

    for n in 0..100_000_u32 {
        ask((n | 0x0a00_0000).to_be_bytes()).await;
    }

    assert!(told() < before + 2_000);
    assert_eq!(ask([192, 0, 2, 1]).await, 429, "it is not forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_hook_of_a_layer_alone_that_panics_makes_its_client_one_of_the_unknown() {
    let quota = Quota::new(1, Duration::from_secs(60), 1).unwrap();
    let rate = RateLimitLayer::per_client("hooked", quota, |_| -> Option<u32> {
        panic!("hostile: client")
    });
    let admission = AdmissionLayer::fixed("hooked", 1, AdmissionConfig::default()).unwrap();
    let admission = admission.by_user(|_| -> Option<u32> { panic!("hostile: user") });
    let slow = service_fn(async |_: Request<Body>| {
        clock::sleep(Duration::from_millis(10)).await;
        Ok::<_, Infallible>(Response::<Body>::default())
    });
    let ask = || Request::get("/").body(Body::empty()).unwrap();

    let (limited, waited) = (rate.layer(slow), admission.layer(slow));
    let once = limited.clone().oneshot(ask()).await.unwrap();
    let twice = limited.oneshot(ask()).await.unwrap();
    // The answer is dropped, which gives the permit to the second.
    let served = async || waited.clone().oneshot(ask()).await.unwrap().status();
    let both = tokio::join!(served(), served());

    assert_eq!(
        (once.status(), twice.status()),
        (StatusCode::OK, StatusCode::TOO_MANY_REQUESTS)
    );
    assert_eq!(both, (StatusCode::OK, StatusCode::OK));
}
