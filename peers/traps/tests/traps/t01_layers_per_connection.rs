//! Layers on a router without state, passed straight to `axum::serve`, are applied per connection.

use axum::Router;
use axum::routing::get;
use tower::limit::ConcurrencyLimitLayer;

use crate::support::{Gate, Side, answers, ask_often, guarded, seen, serve};

fn app(gate: &Gate) -> Router {
    let gate = gate.clone();
    Router::new().route("/orders", get(async move || gate.pass().await))
}

#[tokio::test]
async fn the_usual_assembly_fails() {
    let gate = Gate::default();
    let app = app(&gate).layer(ConcurrencyLimitLayer::new(5));
    let address = serve(app).await;

    let mut asked = ask_often(address, "/orders", 50);
    gate.until_inside(50).await;

    gate.open();
    answers(&mut asked, 50).await;
    seen(
        "t01",
        Side::Usual,
        "50 of 50 ran at once under a limit of 5",
    );
}

#[tokio::test]
async fn ours_holds() {
    let gate = Gate::default();
    let policy = r#"
        [admissions.http]
        permits = 5
        queue = 1
        queue_wait = "20s"

        [timeouts.page]
        timeout = "30s"

        [routes."/orders"]
        timeout = "page"
        admission = "http"
    "#;
    let address = serve(guarded(policy, app(&gate)).await).await;

    let mut asked = ask_often(address, "/orders", 50);
    let rejected = answers(&mut asked, 44).await;
    gate.until_inside(5).await;

    // Whoever finds the queue full, or has to make room in it once it stands.
    let whys = ["overloaded", "displaced"].map(Some);
    assert!(
        rejected
            .iter()
            .all(|answer| whys.contains(&answer.rejected()))
    );
    gate.open();
    let served = answers(&mut asked, 6).await;
    assert!(served.iter().all(|answer| answer.status == Some(200)));
    assert_eq!(gate.most(), 5);
    seen(
        "t01",
        Side::Ours,
        "5 ran at once, 1 waited, 44 were told why not",
    );
}
