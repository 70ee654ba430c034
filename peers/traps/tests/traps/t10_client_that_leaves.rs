//! The client gives up while the handler works.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;

use crate::support::{Gate, Side, ask, guarded, log, seen, send, serve, settle};

fn app(path: &str, gate: &Gate) -> Router {
    let gate = gate.clone();
    Router::new().route(path, get(async move || gate.pass().await))
}

/// As one writes it: up before, down after.
async fn at_most_five(
    State(running): State<Arc<AtomicUsize>>,
    request: Request,
    next: Next,
) -> Response {
    if running.fetch_add(1, Ordering::Relaxed) >= 5 {
        running.fetch_sub(1, Ordering::Relaxed);
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let response = next.run(request).await;
    running.fetch_sub(1, Ordering::Relaxed);
    response
}

#[tokio::test]
async fn the_usual_assembly_fails() {
    let (log, gate) = (log(), Gate::default());
    let layers = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CatchPanicLayer::new())
        .layer(from_fn_with_state(Arc::default(), at_most_five));
    let address = serve(app("/t10-usual", &gate).layer(layers)).await;

    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(send(address, "/t10-usual").await);
    }
    gate.until_inside(5).await;
    drop(clients);
    gate.until_inside(0).await;
    settle().await;

    let lines = log.usual_with("uri=/t10-usual");
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(
        lines
            .iter()
            .all(|line| line.contains("started processing request"))
    );
    gate.open();
    assert_eq!(ask(address, "/t10-usual").await.status, Some(503));
    seen(
        "t10",
        Side::Usual,
        "5 lines say `started` and none says how it ended; nobody is inside any more, and the sixth client is rejected by the limit of 5",
    );
}

#[tokio::test]
async fn ours_holds() {
    let (log, gate) = (log(), Gate::default());
    let policy = r#"
        [admissions.http]
        permits = 5
        queue_wait = "1s"

        [timeouts.page]
        timeout = "30s"

        [routes."/t10-ours"]
        timeout = "page"
        admission = "http"
    "#;
    let address = serve(guarded(policy, app("/t10-ours", &gate)).await).await;

    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(send(address, "/t10-ours").await);
    }
    gate.until_inside(5).await;
    drop(clients);
    gate.until_inside(0).await;

    let lines = log
        .until_with(
            &[
                "steadfast::access",
                "/t10-ours",
                "status=499",
                "ended=\"client_gone\"",
            ],
            5,
        )
        .await;
    assert_eq!(lines.len(), 5);
    gate.open();
    assert_eq!(ask(address, "/t10-ours").await.status, Some(200));
    seen(
        "t10",
        Side::Ours,
        "5 lines say 499 and `client_gone`, and the sixth client is served",
    );
}
