//! A layer outside of the queue that reserves in `poll_ready` hides who waits.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use futures_util::future::join_all;
use tower::ServiceExt;
use tower::limit::GlobalConcurrencyLimitLayer;

use crate::support::{Gate, Side, guarded, poll_once, seen};

const POLICY: &str = r#"
    [admissions.http]
    permits = 1
    queue = 20
    queue_wait = "20s"

    [timeouts.page]
    timeout = "30s"

    [routes."/orders"]
    tier = "core"
    timeout = "page"
    admission = "http"

    [routes."/recommendations"]
    tier = "tier2"
    timeout = "page"
    admission = "http"
"#;

/// One request inside, ten recommendations that wait, then an order. Gives the place at which the order is served,
/// from 1.
async fn place_of_the_order(limit: impl FnOnce(Router) -> Router) -> usize {
    let (gate, served) = (Gate::default(), Arc::new(Mutex::new(Vec::new())));
    let handler = |name: &'static str| {
        let (gate, served) = (gate.clone(), served.clone());
        get(async move || {
            gate.pass().await;
            served.lock().unwrap().push(name);
        })
    };
    let routes = Router::new()
        .route("/orders", handler("order"))
        .route("/recommendations", handler("recommendation"));
    let app = limit(guarded(POLICY, routes).await).with_state(());

    let mut calls = Vec::new();
    for path in ["/recommendations"; 11].into_iter().chain(["/orders"]) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let mut call = Box::pin(app.clone().oneshot(request));
        assert!(poll_once(call.as_mut()).await.is_none());
        calls.push(call);
    }
    assert_eq!(gate.inside(), 1);
    gate.open();
    // A permit is held until the answer has been read, or is dropped.
    join_all(calls.into_iter().map(async |call| drop(call.await))).await;

    let served = served.lock().unwrap();
    // Without the one that was inside.
    served
        .iter()
        .skip(1)
        .position(|name| *name == "order")
        .unwrap()
        + 1
}

#[tokio::test(start_paused = true)]
async fn the_usual_assembly_fails() {
    let place =
        place_of_the_order(|guarded| guarded.layer(GlobalConcurrencyLimitLayer::new(1))).await;

    assert_eq!(place, 11);
    seen(
        "t28",
        Side::Usual,
        "behind a `ConcurrencyLimit`, the order was served as the last of 11",
    );
}

// No time passes, in which a queue would be found to stand.
#[tokio::test(start_paused = true)]
async fn ours_holds() {
    let place = place_of_the_order(|guarded| guarded).await;

    assert_eq!(place, 1);
    seen("t28", Side::Ours, "the order was served first of 11");
}
