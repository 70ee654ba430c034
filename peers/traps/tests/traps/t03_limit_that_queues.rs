//! `ConcurrencyLimit` queues without a bound; `LoadShed` in front of it changes nothing where the limit is per
//! connection.

use std::pin::Pin;

use axum::body::Body;
use axum::error_handling::HandleErrorLayer;
use axum::routing::get;
use axum::{BoxError, Router};
use http::{Request, StatusCode};
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use tower::load_shed::LoadShedLayer;
use tower::{ServiceBuilder, ServiceExt};

use crate::support::{Gate, Side, answers, ask_often, guarded, poll_once, seen, serve};

fn app(gate: &Gate) -> Router {
    let gate = gate.clone();
    Router::new().route("/orders", get(async move || gate.pass().await))
}

#[tokio::test]
async fn the_usual_assembly_fails() {
    // A limit that is one, since its semaphore is shared.
    let gate = Gate::default();
    let queued = app(&gate)
        .layer(GlobalConcurrencyLimitLayer::new(5))
        .with_state(());
    let mut calls: Vec<Pin<Box<_>>> = Vec::new();
    for _ in 0..1000 {
        let request = Request::get("/orders").body(Body::empty()).unwrap();
        let mut call = Box::pin(queued.clone().oneshot(request));
        assert!(
            poll_once(call.as_mut()).await.is_none(),
            "nobody is told anything"
        );
        calls.push(call);
    }
    assert_eq!(gate.inside(), 5);

    let gate = Gate::default();
    let shedding = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(async |_: BoxError| {
            StatusCode::SERVICE_UNAVAILABLE
        }))
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(5));
    let address = serve(app(&gate).layer(shedding)).await;
    let mut asked = ask_often(address, "/orders", 50);
    gate.until_inside(50).await;
    gate.open();
    let served = answers(&mut asked, 50).await;
    assert!(served.iter().all(|answer| answer.status == Some(200)));
    seen(
        "t03",
        Side::Usual,
        "995 of 1,000 waited behind 5, and none was rejected; with `LoadShed`, 50 of 50 ran at once",
    );
}

// No time passes, in which a queue would be found to stand.
#[tokio::test(start_paused = true)]
async fn ours_holds() {
    let gate = Gate::default();
    let policy = r#"
        [admissions.http]
        permits = 5
        queue = 10
        queue_wait = "20s"

        [timeouts.page]
        timeout = "30s"

        [routes."/orders"]
        timeout = "page"
        admission = "http"
    "#;
    let app = guarded(policy, app(&gate)).await;

    let (mut waiting, mut rejected) = (Vec::new(), 0);
    for _ in 0..1000 {
        let request = Request::get("/orders").body(Body::empty()).unwrap();
        let mut call = Box::pin(app.clone().oneshot(request));
        match poll_once(call.as_mut()).await {
            None => waiting.push(call),
            Some(answer) => {
                let answer = answer.unwrap();
                assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
                assert!(answer.headers().contains_key("retry-after"));
                rejected += 1;
            }
        }
    }

    assert_eq!((gate.inside(), waiting.len(), rejected), (5, 15, 985));
    seen(
        "t03",
        Side::Ours,
        "5 ran, 10 waited, 985 were rejected at once and told when to come back",
    );
}
