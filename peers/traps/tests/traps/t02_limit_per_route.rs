//! One `Router::layer` over two routes is two layers, each with a state of its own.

use axum::Router;
use axum::routing::get;
use tower::limit::ConcurrencyLimitLayer;

use crate::support::{Gate, Side, answers, ask_often, guarded, seen, serve};

fn app(gate: &Gate) -> Router {
    let handler = {
        let gate = gate.clone();
        get(async move || gate.pass().await)
    };
    Router::new()
        .route("/orders", handler.clone())
        .route("/search", handler)
}

#[tokio::test]
async fn the_usual_assembly_fails() {
    let gate = Gate::default();
    // With its state the layers of the router are applied, once for all connections.
    let app = app(&gate)
        .layer(ConcurrencyLimitLayer::new(5))
        .with_state(());
    let address = serve(app).await;

    let mut orders = ask_often(address, "/orders", 20);
    let mut searches = ask_often(address, "/search", 20);
    gate.until_inside(10).await;

    gate.open();
    answers(&mut orders, 20).await;
    answers(&mut searches, 20).await;
    seen(
        "t02",
        Side::Usual,
        "10 ran at once under a limit of 5 over two routes",
    );
}

#[tokio::test]
async fn ours_holds() {
    let gate = Gate::default();
    let policy = r#"
        [admissions.http]
        permits = 5
        queue = 35
        queue_wait = "20s"

        [timeouts.page]
        timeout = "30s"

        [routes."/orders"]
        timeout = "page"
        admission = "http"

        [routes."/search"]
        timeout = "page"
        admission = "http"
    "#;
    let address = serve(guarded(policy, app(&gate)).await).await;

    let mut orders = ask_often(address, "/orders", 20);
    let mut searches = ask_often(address, "/search", 20);
    gate.until_inside(5).await;

    gate.open();
    let mut served = answers(&mut orders, 20).await;
    served.extend(answers(&mut searches, 20).await);
    assert!(served.iter().all(|answer| answer.status == Some(200)));
    assert_eq!(gate.most(), 5);
    seen("t02", Side::Ours, "5 ran at once, of both routes together");
}
