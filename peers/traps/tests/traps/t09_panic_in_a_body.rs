//! A body that is streamed panics after the head was sent.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures_util::stream::{self, StreamExt};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;

use crate::support::{Side, ask, guarded, log, seen, serve, settle};

fn broken(message: &'static str) -> Body {
    let first = stream::once(async { Ok::<_, Infallible>("first line\n") });
    Body::from_stream(first.chain(stream::once(async move {
        // A pause, in which the server sends what it has.
        tokio::task::yield_now().await;
        panic!("{message}")
    })))
}

#[tokio::test]
async fn the_usual_assembly_fails() {
    let log = log();
    let app = Router::new().route("/t09-usual", get(async || broken("t09 usual: row 2")));
    let layers = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CatchPanicLayer::new());
    let address = serve(app.layer(layers)).await;

    let answer = ask(address, "/t09-usual").await;
    settle().await;

    assert_eq!((answer.status, answer.whole), (Some(200), false));
    let lines = log.usual_with("uri=/t09-usual");
    let last = lines.last().unwrap();
    assert!(
        last.contains("finished processing request") && last.contains("status=200"),
        "{lines:?}"
    );
    assert_eq!(log.usual_with("t09 usual: row 2"), Vec::<String>::new());
    seen(
        "t09",
        Side::Usual,
        "the log says `finished` with status 200 and nothing else; the client got half of an answer",
    );
}

#[tokio::test]
async fn ours_holds() {
    let log = log();
    let app = Router::new().route("/t09-ours", get(async || broken("t09 ours: row 2")));
    let policy = "timeouts.page.timeout = '2s'\nroutes.'/t09-ours'.timeout = 'page'";
    let address = serve(guarded(policy, app).await).await;

    let answer = ask(address, "/t09-ours").await;

    assert_eq!(
        (answer.status, answer.whole),
        (Some(200), false),
        "half of it was sent: it must not look whole"
    );
    let id = answer.header("x-request-id").unwrap();
    let access = log.until_with(&["steadfast::access", id], 1).await;
    assert!(
        access[0].contains("ended=\"panicked\"") && access[0].contains("body_bytes=11"),
        "{access:?}"
    );
    let panics = log
        .until_with(&["steadfast::panic", "t09 ours: row 2"], 1)
        .await;
    assert!(panics[0].contains(id), "{panics:?}");
    seen(
        "t09",
        Side::Ours,
        "the line of the request says `panicked` after 11 bytes, the panic has its id, and the client sees that the answer is not whole",
    );
}
