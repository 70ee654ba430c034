//! The body of the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use steadfast_core::clock;
use steadfast_tower::retry::RetryBody;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Lines, get};

use super::{
    Frames, MILLI, Silent, Target, counter, layer, layer_of, plenty, refused, request, reset, rule,
    status,
};

#[tokio::test(start_paused = true)]
async fn a_streamed_body_is_sent_whole_in_every_attempt() {
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
    let frames = ["one ", "two ", "three"].map(|text| Frame::data(Bytes::from(text)));
    let body = Frames::of(
        frames
            .into_iter()
            .chain([Frame::trailers(trailers.clone())]),
    );
    let target = Target::that_answers([status(503), reset()]);

    let client = layer(3).layer(target.clone());
    client
        .oneshot(Request::put("/").body(body).unwrap())
        .await
        .unwrap();

    let seen = target.seen();
    assert_eq!(seen.len(), 3);
    for seen in &seen {
        assert_eq!(seen.body.as_deref(), Ok(&b"one two three"[..]));
        assert_eq!(seen.trailers.as_ref(), Some(&trailers));
    }
    assert_eq!(seen[1].length, Some(13), "what is kept has a known length");
}

#[tokio::test(start_paused = true)]
async fn the_length_of_a_body_is_known_in_every_attempt() {
    let target = Target::that_answers([status(503)]);
    let empty = Target::that_answers([status(503)]);

    layer(2)
        .layer(target.clone())
        .oneshot(request("PUT", &[]))
        .await
        .unwrap();
    layer(2)
        .layer(empty.clone())
        .oneshot(get("/"))
        .await
        .unwrap();

    let lengths = |target: &Target| {
        target
            .seen()
            .iter()
            .map(|seen| seen.length)
            .collect::<Vec<_>>()
    };
    assert_eq!(lengths(&target), [Some(4), Some(4)]);
    assert_eq!(lengths(&empty), [Some(0), Some(0)]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_read_half_of_the_body_is_followed_by_one_that_reads_all() {
    let calls = Arc::new(AtomicU32::new(0));
    let count = calls.clone();
    let impatient = service_fn(move |request: Request<RetryBody<Frames>>| {
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            let mut body = request.into_body();
            if first {
                body.frame().await.unwrap().unwrap();
                return status(503);
            }
            let all = body.collect().await.unwrap().to_bytes();
            Ok(Response::new(Full::from(all)))
        }
    });
    let body = Frames::of(["one ", "two"].map(|text| Frame::data(Bytes::from(text))));

    let client = layer(2).layer(impatient);
    let response = client
        .oneshot(Request::put("/").body(body).unwrap())
        .await
        .unwrap();

    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "one two"
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_body_is_sent_once_and_the_log_says_why() {
    let target = Target::that_answers([status(503)]);
    let body = Frames::of_bytes(65, 1_024);
    let lines = Lines::default();
    let guard = lines.listen();

    let layer = layer_of("long-body", rule(3), plenty());
    let response = layer
        .layer(target.clone())
        .oneshot(Request::put("/").body(body).unwrap())
        .await
        .unwrap();
    drop(guard);

    assert_eq!((response.status().as_u16(), target.attempts()), (503, 1));
    assert_eq!(target.seen()[0].body.as_ref().unwrap().len(), 65 * 1_024);
    let text = lines.text();
    assert!(
        text.contains("body-too-long") && text.contains("long-body"),
        "{text}"
    );
    assert_eq!(
        counter(
            "steadfast_retry_stops_total",
            "long-body",
            Some("body-too-long")
        ),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_just_fits_is_kept() {
    let target = Target::that_answers([status(503)]);
    let body = Frames::of_bytes(64, 1_024);

    let client = layer(3).layer(target.clone());
    client
        .oneshot(Request::put("/").body(body).unwrap())
        .await
        .unwrap();

    let sizes: Vec<_> = target
        .seen()
        .iter()
        .map(|seen| seen.body.as_ref().unwrap().len())
        .collect();
    assert_eq!(sizes, [64 * 1_024; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_long_body_of_which_nothing_was_taken_can_be_sent_again() {
    let calls = Arc::new(AtomicU32::new(0));
    let count = calls.clone();
    let target = service_fn(move |request: Request<RetryBody<Full<Bytes>>>| {
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if first {
                return refused();
            }
            let all = request.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(all.len(), 1 << 20);
            status(200)
        }
    });
    let upload = Request::post("/")
        .body(Full::from(vec![b'x'; 1 << 20]))
        .unwrap();

    let response = layer(2).layer(target).oneshot(upload).await.unwrap();

    assert_eq!(response.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_failed_is_not_sent_again() {
    let target = Target::that_answers([status(503)]);
    let mut body = Frames::of_bytes(1, 4);
    body.fails = true;

    let client = layer(3).layer(target.clone());
    client
        .oneshot(Request::put("/").body(body).unwrap())
        .await
        .unwrap();

    let seen = target.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].body, Err("source failed".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_still_sends_the_body_of_an_earlier_attempt_stops() {
    let (given_up, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let calls = Arc::new(AtomicU32::new(0));
    let target = service_fn(move |request: Request<RetryBody<Silent>>| {
        let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        let given_up = given_up.clone();
        async move {
            let mut body = request.into_body();
            if !first {
                return status(200);
            }
            // As a connection does: it goes on sending while the answer is there already.
            steadfast_core::spawn("connection", async move {
                let error = body.frame().await.unwrap().unwrap_err();
                let _ = given_up.send(error.is_superseded());
            });
            tokio::task::yield_now().await;
            status(503)
        }
    });

    let client = layer(2).layer(target);
    let response = client
        .oneshot(Request::put("/").body(Silent).unwrap())
        .await
        .unwrap();

    assert_eq!(response.status(), 200);
    let heard = clock::timeout(1_000 * MILLI, heard.recv()).await;
    assert_eq!(heard, Ok(Some(true)), "it is told at once");
}
