//! Without a panic layer the client sees a closed connection, and the log has nothing.

use axum::Router;
use axum::routing::get;

use crate::support::{Side, ask, guarded, log, seen, serve, settle};

#[tokio::test]
async fn the_usual_assembly_fails() {
    let log = log();
    let app = Router::new().route(
        "/t06-usual",
        get(async || -> &str { panic!("t06 usual: no such item") }),
    );
    let address = serve(app).await;

    let answer = ask(address, "/t06-usual").await;
    settle().await;

    assert_eq!((answer.status, answer.body.as_str()), (None, ""));
    assert_eq!(log.usual_with("t06"), Vec::<String>::new());
    seen(
        "t06",
        Side::Usual,
        "the connection was closed without a byte, and no line was logged",
    );
}

#[tokio::test]
async fn ours_holds() {
    let log = log();
    let app = Router::new().route(
        "/t06-ours",
        get(async || -> &str { panic!("t06 ours: no such item") }),
    );
    let policy = "timeouts.page.timeout = '2s'\nroutes.'/t06-ours'.timeout = 'page'";
    let address = serve(guarded(policy, app).await).await;

    let answer = ask(address, "/t06-ours").await;

    assert_eq!((answer.status, answer.whole), (Some(500), true));
    let id = answer.header("x-request-id").unwrap();
    assert!(answer.body.contains(id) && !answer.body.contains("no such item"));
    let lines = log
        .until_with(&["steadfast::panic", "t06 ours: no such item"], 1)
        .await;
    assert!(lines.len() == 1 && lines[0].contains(id), "{lines:?}");
    seen(
        "t06",
        Side::Ours,
        "a clean 500 with an id, and one line with the message, the place and the same id",
    );
}
