//! Clients that mean no good, or are gone.

use std::time::Duration;

use http::Request;
use steadfast_core::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::Lines;

use super::{Service, ask, counted, head, rest, until, write};

#[tokio::test]
async fn what_is_no_request_is_answered_counted_and_told_once_a_second() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let service = Service::start(|serve| serve.header_read(Duration::from_millis(50))).await;
    let long = format!(
        "GET /page HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "y".repeat(64 << 10)
    );
    for (bytes, status) in [
        ("\x16\x03\x01\x02\x00\x01\x00", "HTTP/1.1 400"),
        ("GET /page HTTP/1.1\r\nno header\r\n\r\n", "HTTP/1.1 400"),
        (&long, "HTTP/1.1 431"),
        ("GET /pa", ""),
    ] {
        let mut socket = service.connect().await;
        let _ = socket.write_all(bytes.as_bytes()).await;
        let answer = rest(socket).await;
        // What is left unread makes a socket forget what it has sent.
        assert!(answer.starts_with(status) || answer.is_empty(), "{answer}");
    }

    // One server among those of all tests; no other one is asked for such things.
    until(|| counted("malformed", 2)).await;
    until(|| !lines.with("kind=\"too_large\"").is_empty()).await;
    let told = lines.with("a request was refused before the guard");
    let of = |kind: &str| {
        let kind = format!("kind={kind:?}");
        told.iter().filter(|line| line.contains(&kind)).count()
    };
    assert_eq!((of("malformed"), of("too_large"), told.len()), (1, 1, 2));
}

#[tokio::test]
async fn over_http2_a_client_of_grpc_gets_trailers_only() {
    let service = Service::start(|serve| serve).await;
    let client = service.http2().await;

    for (path, status) in [("http://a/call/Slow", "4"), ("http://a/call/Panics", "13")] {
        let request = Request::post(path).header("content-type", "application/grpc");
        let answer = ask(&client, request).await;

        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["grpc-status"], status);
        assert!(
            hyper::body::Body::is_end_stream(answer.body()),
            "nothing comes after the head"
        );
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let service = Service::start(|serve| serve.header_read(Duration::from_millis(50))).await;

    let silent = service.connect().await;
    let mut slow = service.connect().await;
    write(&mut slow, "GET /page HTTP/1.1\r\nhost: a\r\nx-slow: ").await;
    let mut second = service.send("/page").await;
    assert!(head(&mut second).await.starts_with("HTTP/1.1 200"));
    write(&mut second, "GET /pa").await;

    for socket in [silent, slow, second] {
        let text = rest(socket).await;
        assert!(!text.contains("200 OK"), "{text}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_kept_longer_than_a_head_may_take() {
    let service = Service::start(|serve| serve.header_read(Duration::from_millis(30))).await;
    let mut socket = service.send("/page").await;
    head(&mut socket).await;
    let mut body = [0; 9];
    socket.read_exact(&mut body).await.unwrap();

    clock::sleep(Duration::from_millis(100)).await;

    write(
        &mut socket,
        "GET /page HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(rest(socket).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_flood_of_headers_is_answered_and_not_stored() {
    let service = Service::start(|serve| serve).await;
    let many = "x-flood: 1\r\n".repeat(200);
    let long = format!("x-long: {}\r\n", "y".repeat(64 << 10));

    for (name, headers) in [("many", many), ("long", long)] {
        let mut socket = service.connect().await;
        let request = format!("GET /page HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
        let _ = socket.write_all(request.as_bytes()).await;
        let answer = rest(socket).await;
        let refused = answer.starts_with("HTTP/1.1 431") || answer.is_empty();
        assert!(refused, "{name}: {answer}");
    }
    assert!(service.answer("/page").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_that_stops_reading_is_not_waited_for_and_its_permit_comes_back() {
    let service = Service::start(|serve| serve.write(Duration::from_millis(50))).await;

    // Both permits, and no end in sight.
    let mut stuck = [service.send("/large").await, service.send("/large").await];
    for socket in &mut stuck {
        assert!(head(socket).await.starts_with("HTTP/1.1 200"));
    }

    service.go_on.add_permits(1);
    while !service.answer("/wait").await.starts_with("HTTP/1.1 200") {}
}

#[tokio::test]
async fn a_stream_of_http2_that_is_not_read_does_not_hold_its_permit() {
    let service = Service::start(|serve| serve.write(Duration::from_millis(50))).await;
    let client = service.http2().await;
    let unread = [
        ask(&client, Request::get("http://a/large")).await,
        ask(&client, Request::get("http://a/large")).await,
    ];
    assert!(unread.iter().all(|answer| answer.status() == 200));

    service.go_on.add_permits(1);
    while !service.answer("/wait").await.starts_with("HTTP/1.1 200") {}
}

#[tokio::test]
async fn a_client_that_vanishes_is_told_as_499_and_its_permit_comes_back() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let service = Service::start(|serve| serve).await;
    let gone = [service.send("/wait").await, service.send("/wait").await];
    service.runs(2).await;

    drop(gone);

    service.runs(0).await;
    until(|| lines.with("status=499").len() == 2).await;
    assert!(lines.with("status=499")[0].contains("ended=\"client_gone\""));
    service.go_on.add_permits(2);
    assert!(service.answer("/wait").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn more_connections_than_may_be_wait_for_their_turn() {
    let service = Service::start(|serve| serve.connections(1)).await;
    let mut first = service.send("/page").await;
    head(&mut first).await;

    let mut waits = Box::pin(service.answer("/page"));
    for _ in 0..100 {
        assert!(crate::support::poll_once(waits.as_mut()).await.is_none());
        tokio::task::yield_now().await;
    }
    drop(first);

    assert!(waits.await.starts_with("HTTP/1.1 200"));
}
