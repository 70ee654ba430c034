//! A task that is started and forgotten panics.

use axum::Router;
use axum::routing::get;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;

use crate::support::{Gate, Side, ask, guarded, log, seen, serve, settle};

#[tokio::test]
async fn the_usual_assembly_fails() {
    let log = log();
    let gate = Gate::default();
    let of_handler = gate.clone();
    let order = async move || {
        let gate = of_handler.clone();
        tokio::spawn(async move {
            gate.pass().await;
            panic!("t08 usual: no mail server");
        });
        "ordered"
    };
    // In the better order, unlike in the trap before.
    let layers = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CatchPanicLayer::new());
    let address = serve(Router::new().route("/t08-usual", get(order)).layer(layers)).await;

    let answer = ask(address, "/t08-usual").await;
    gate.until_inside(1).await;
    gate.open();
    gate.until_inside(0).await;
    settle().await;

    assert_eq!(answer.status, Some(200));
    assert_eq!(
        log.usual_with("t08 usual: no mail server"),
        Vec::<String>::new()
    );
    seen(
        "t08",
        Side::Usual,
        "the order was answered with 200, and no line tells that its mail was never sent",
    );
}

#[tokio::test]
async fn ours_holds() {
    let log = log();
    let order = async || {
        steadfast::spawn("mail", async { panic!("t08 ours: no mail server") });
        "ordered"
    };
    let app = Router::new().route("/t08-ours", get(order));
    let policy = "timeouts.page.timeout = '2s'\nroutes.'/t08-ours'.timeout = 'page'";
    let address = serve(guarded(policy, app).await).await;

    let answer = ask(address, "/t08-ours").await;

    assert_eq!(answer.status, Some(200));
    let id = answer.header("x-request-id").unwrap();
    let panics = log
        .until_with(&["steadfast::panic", "t08 ours: no mail server"], 1)
        .await;
    assert!(
        panics[0].contains(id) && panics[0].contains("mail"),
        "{panics:?}"
    );
    seen(
        "t08",
        Side::Ours,
        "the order was answered with 200, and an error in the log names the task, the panic and the id of the order",
    );
}
