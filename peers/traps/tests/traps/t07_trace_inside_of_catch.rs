//! A trace layer inside of the panic layer: the request never ends in the log, and the panic belongs to none.

use axum::Router;
use axum::routing::get;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;

use crate::support::{Side, ask, guarded, log, seen, serve};

#[tokio::test]
async fn the_usual_assembly_fails() {
    let log = log();
    let app = Router::new().route(
        "/t07-usual",
        get(async || -> &str { panic!("t07 usual: no such item") }),
    );
    let layers = ServiceBuilder::new()
        .layer(CatchPanicLayer::new())
        .layer(TraceLayer::new_for_http());
    let address = serve(app.layer(layers)).await;

    let answer = ask(address, "/t07-usual").await;

    assert_eq!(answer.status, Some(500));
    let of_request = log.with("uri=/t07-usual");
    assert!(
        of_request.len() == 1 && of_request[0].contains("started processing request"),
        "{of_request:?}"
    );
    let panics = log.usual_with("t07 usual: no such item");
    assert!(
        panics.len() == 1 && !panics[0].contains("uri="),
        "{panics:?}"
    );
    seen(
        "t07",
        Side::Usual,
        "one line says that the request has started, none that it has ended; the line of the panic names no request",
    );
}

#[tokio::test]
async fn ours_holds() {
    let log = log();
    let app = Router::new().route(
        "/t07-ours",
        get(async || -> &str { panic!("t07 ours: no such item") }),
    );
    let policy = "timeouts.page.timeout = '2s'\nroutes.'/t07-ours'.timeout = 'page'";
    let address = serve(guarded(policy, app).await).await;

    let answer = ask(address, "/t07-ours").await;

    let id = answer.header("x-request-id").unwrap();
    let access = log.until_with(&["steadfast::access", id], 1).await;
    assert!(
        access[0].contains("status=500") && access[0].contains("ended=\"panicked\""),
        "{access:?}"
    );
    let panics = log
        .until_with(&["steadfast::panic", "t07 ours: no such item"], 1)
        .await;
    assert!(
        panics[0].contains(id) && panics[0].contains("/t07-ours"),
        "{panics:?}"
    );
    seen(
        "t07",
        Side::Ours,
        "one line says that the request ended with 500, the other what panicked, both with its id and its route",
    );
}
