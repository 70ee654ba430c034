//! The path of the request as a label of a metric.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::get;
use steadfast::report;
use tower::ServiceExt;

use crate::support::{Side, guarded, seen};

/// What scanners ask for.
const PATHS: usize = 10_000;

fn app() -> Router {
    Router::new().route("/orders/{id}", get(async || "an order"))
}

async fn scan(app: Router, prefix: &str) {
    for n in 0..PATHS {
        for path in [
            format!("/{prefix}/wp-{n}.php"),
            format!("/orders/{prefix}-{n}"),
        ] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            app.clone().oneshot(request).await.unwrap();
        }
    }
}

/// Requests by method and path.
type Counts = Arc<Mutex<HashMap<(String, String), u64>>>;

#[tokio::test]
async fn the_usual_assembly_fails() {
    let counts = Counts::default();
    let count = from_fn_with_state(
        counts.clone(),
        async |State(counts): State<Counts>, request: Request, next: Next| {
            let labels = (
                request.method().to_string(),
                request.uri().path().to_owned(),
            );
            *counts.lock().unwrap().entry(labels).or_default() += 1;
            next.run(request).await
        },
    );

    scan(app().layer(count), "t15-usual").await;

    assert_eq!(counts.lock().unwrap().len(), 2 * PATHS);
    seen(
        "t15",
        Side::Usual,
        "20,000 requests of a scanner left 20,000 series",
    );
}

#[tokio::test]
async fn ours_holds() {
    let policy = "timeouts.page.timeout = '2s'\nroutes.'/orders/{id}'.timeout = 'page'";
    let app = guarded(policy, app()).await;
    // Its own routes have series before.
    app.clone()
        .oneshot(Request::get("/orders/1").body(Body::empty()).unwrap())
        .await
        .unwrap();
    app.clone()
        .oneshot(Request::get("/none").body(Body::empty()).unwrap())
        .await
        .unwrap();

    scan(app, "t15-ours").await;

    let snapshot = report::snapshot();
    let http = || {
        snapshot
            .metrics()
            .filter(|metric| metric.name == "http_server_request_duration_seconds")
    };
    let has = |part: &str| {
        let of_part = |metric: &&report::Metric| {
            let mut labels = metric.labels.iter();
            labels.any(|(_, value)| value.as_str().contains(part))
        };
        http().filter(of_part).count()
    };
    assert_eq!(has("t15"), 0);
    assert_eq!((has("/orders/{id}"), has("wp-")), (1, 0));
    seen(
        "t15",
        Side::Ours,
        "20,000 requests of a scanner left one series for the route, and none for what is no route",
    );
}
