//! A breaker that is made anew for each client, or for which a 500 is a success, never opens.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::response::Response as Answer;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use steadfast::tower::guard::ClientBody;
use steadfast::tower::{Guard, PolicyDocument, Reason};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_resilience::circuitbreaker::{
    CircuitBreakerError, CircuitBreakerLayer, FailureClassifier,
};

use crate::support::{Side, answers, ask_often, seen, serve};

/// A handler that fails, and counts.
fn failing(calls: &Arc<AtomicUsize>) -> Router {
    let calls = calls.clone();
    Router::new().route(
        "/items",
        get(async move || {
            calls.fetch_add(1, Ordering::Relaxed);
            StatusCode::INTERNAL_SERVER_ERROR
        }),
    )
}

/// One that the layer can be cloned with, which it cannot with a closure.
#[derive(Clone)]
struct ByStatus;

impl FailureClassifier<Answer, Infallible> for ByStatus {
    fn classify(&self, result: &Result<Answer, Infallible>) -> bool {
        result
            .as_ref()
            .is_ok_and(|answer| answer.status().is_server_error())
    }
}

#[tokio::test]
async fn the_usual_assembly_fails() {
    let breaker = || {
        CircuitBreakerLayer::builder()
            .failure_rate_threshold(0.5)
            .sliding_window_size(10)
            .minimum_number_of_calls(5)
    };
    let to_answer = || {
        HandleErrorLayer::new(async |_: CircuitBreakerError<Infallible>| {
            StatusCode::SERVICE_UNAVAILABLE
        })
    };

    // It knows a failure when it sees one, and is made anew for each connection.
    let calls = Arc::new(AtomicUsize::new(0));
    let layers = ServiceBuilder::new()
        .layer(to_answer())
        .layer(breaker().failure_classifier_type(ByStatus).build().unwrap());
    let address = serve(failing(&calls).layer(layers)).await;
    answers(&mut ask_often(address, "/items", 40), 40).await;
    assert_eq!(calls.load(Ordering::Relaxed), 40);

    // It is one for all connections, and judges as it does by default: for tower a 500 is an `Ok`.
    let calls = Arc::new(AtomicUsize::new(0));
    let layers = ServiceBuilder::new()
        .layer(to_answer())
        .layer(breaker().build().unwrap());
    let address = serve(failing(&calls).layer(layers).with_state(())).await;
    answers(&mut ask_often(address, "/items", 40), 40).await;
    assert_eq!(calls.load(Ordering::Relaxed), 40);
    seen(
        "t05",
        Side::Usual,
        "40 of 40 calls were let through to what failed 40 times, both ways",
    );
}

#[tokio::test]
async fn ours_holds() {
    let policy = r#"
        [timeouts.call]
        timeout = "1s"

        [breakers.stock]
        consecutive = 5

        [dependencies.stock]
        timeout = "call"
        breaker = "stock"
    "#;
    let policy = PolicyDocument::new("policy.toml", policy).unwrap();
    let guard = Guard::new(policy.policy().clone()).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let of_stock = calls.clone();
    let stock = service_fn(move |_: Request<ClientBody<Full<Bytes>>>| {
        of_stock.fetch_add(1, Ordering::Relaxed);
        let mut answer = Response::new(Full::<Bytes>::default());
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        std::future::ready(Ok::<_, Infallible>(answer))
    });

    let mut rejected = 0;
    for _ in 0..40 {
        // Made anew for each call, as nobody should: the state is the guard's.
        let client = guard.client("stock").unwrap().layer(stock.clone());
        let call = Request::get("http://stock.example/items")
            .body(Full::default())
            .unwrap();
        match client.oneshot(call).await {
            Ok(answer) => assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR),
            Err(error) => {
                assert_eq!(error.rejection().unwrap().reason(), Reason::BreakerOpen);
                rejected += 1;
            }
        }
    }

    assert_eq!((calls.load(Ordering::Relaxed), rejected), (5, 35));
    seen(
        "t05",
        Side::Ours,
        "5 of 40 calls were let through, and 35 told `breaker-open` at once",
    );
}
