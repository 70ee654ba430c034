//! Connections, and what they become.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get as route;
use http::Request;
use http_body_util::BodyExt;
use steadfast_core::clock;
use steadfast_tower::{Guard, PolicyDocument};
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;

use crate::support::Lines;

use super::{Service, ask, head, write};

#[tokio::test]
async fn over_either_protocol_requests_are_served_and_know_their_peer() {
    let service = Service::start(|serve| serve).await;

    assert!(service.answer("/page").await.ends_with("127.0.0.1"));
    let client = service.http2().await;
    let page = ask(&client, Request::get("http://a/page")).await;
    assert_eq!(page.version(), http::Version::HTTP_2);
    assert_eq!(
        page.into_body().collect().await.unwrap().to_bytes(),
        "127.0.0.1"
    );
    let panics = ask(&client, Request::get("http://a/panics")).await;
    assert_eq!(panics.status(), 500);
    assert_eq!(
        ask(&client, Request::get("http://a/page")).await.status(),
        200,
        "it goes on"
    );
    assert!(
        service.guard.armed().is_clean(),
        "{}",
        service.guard.armed()
    );
}

#[tokio::test]
async fn what_is_served_past_the_guard_is_seen_and_told() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let policy = "[timeouts.page]\ntimeout = \"1s\"\n[routes.\"/page\"]\ntimeout = \"page\"\n";
    let guard = Guard::new(PolicyDocument::new("policy.toml", policy).unwrap()).unwrap();
    let app = Router::new().route("/page", route(async || "guarded"));
    let app = guard.protect(app).await.unwrap();
    // Behind its back.
    let exempt = Router::new().route("/metrics", route(async || "1"));
    let app = app.route("/past", route(async || "past"));
    let app = app.merge(exempt.layer(guard.exempt()));
    let (go_on, running) = (Arc::new(Semaphore::new(0)), Arc::default());
    let service = Service::serve(guard, app, go_on, running, |serve| serve).await;

    for (path, past) in [("/page", 0), ("/past", 1), ("/metrics", 1), ("/past", 2)] {
        service.answer(path).await;
        assert_eq!(service.guard.armed().past, past, "{path}");
    }

    assert!(!service.guard.armed().is_clean());
    let told = lines.with("a request was served past the guard");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("path=\"/past\""), "{told:?}");
}

#[tokio::test]
async fn a_connection_that_becomes_another_protocol_counts_until_it_ends() {
    let service = Service::start(|serve| serve.header_read(Duration::from_millis(30))).await;
    let upgrade = async || {
        let mut socket = service.connect().await;
        let request =
            "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: talk\r\n\r\n";
        write(&mut socket, request).await;
        let head = head(&mut socket).await;
        (socket, head)
    };

    let (mut first, switched) = upgrade().await;
    assert!(switched.starts_with("HTTP/1.1 101"), "{switched}");
    let mut welcome = [0; 7];
    first.read_exact(&mut welcome).await.unwrap();
    // For longer than a head may take: these bytes are none.
    write(&mut first, "hello").await;
    clock::sleep(Duration::from_millis(60)).await;
    let (_, second) = upgrade().await;
    assert!(second.starts_with("HTTP/1.1 503"), "{second}");
    write(&mut first, "still here").await;
    drop(first);

    while !upgrade().await.1.starts_with("HTTP/1.1 101") {}
}
