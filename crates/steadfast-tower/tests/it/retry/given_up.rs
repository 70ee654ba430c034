//! What an attempt holds, and gives back.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use steadfast_core::clock;
use steadfast_tower::retry::{Retry, RetryBody};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Panics, get};

use super::{MILLI, Silent, Target, layer};

/// An answer of which there is no end, or which panics.
struct Endless {
    frame: usize,
    panics: bool,
    given: Arc<AtomicU32>,
    dropped: Arc<AtomicU32>,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        assert!(!self.panics, "retry-c: frame");
        self.given.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(vec![0; self.frame].into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_given_up_is_read_no_further_than_is_worth_it() {
    let panics = Panics::of("retry-c:");
    for (frame, in_frame, frames) in [
        (0, false, 256),
        (1_024, false, 64),
        (1 << 20, false, 1),
        (0, true, 0),
    ] {
        let (given, dropped) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (give, drops) = (given.clone(), dropped.clone());
        let target = service_fn(move |_: Request<RetryBody<Full<Bytes>>>| {
            let body = Endless {
                frame,
                panics: in_frame,
                given: give.clone(),
                dropped: drops.clone(),
            };
            async move { Ok::<_, Infallible>(Response::builder().status(503).body(body).unwrap()) }
        });

        let response = layer(2).layer(target).oneshot(get("/")).await.unwrap();

        assert_eq!(given.load(Ordering::Relaxed), frames);
        assert_eq!(
            dropped.load(Ordering::Relaxed),
            1,
            "only the last one is there"
        );
        drop(response);
    }
    assert_eq!(panics.heard().len(), 1);
}

/// The body of an answer that is never given.
type Held = Response<Silent>;

fn held(code: u16) -> Held {
    Response::builder().status(code).body(Silent).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_attempt_gives_back_what_it_holds_before_the_next() {
    let calls = Arc::new(AtomicU32::new(0));
    let count = calls.clone();
    let target = service_fn(move |_: Request<RetryBody<Full<Bytes>>>| {
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        async move { Ok::<_, Infallible>(held(if first { 503 } else { 200 })) }
    });
    let limit = ConcurrencyLimitLayer::new(1);
    let client = ServiceBuilder::new()
        .layer(layer(2))
        .layer(limit)
        .service(target);

    let response = client.clone().oneshot(get("/")).await.unwrap();
    assert_eq!(response.status(), 200);

    let again = client.oneshot(get("/")).await.unwrap();
    assert_eq!(again.status(), 200, "the capacity is back after the call");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_gives_back_what_it_holds_and_is_not_repeated() {
    let calls = Arc::new(AtomicU32::new(0));
    let count = calls.clone();
    let target = service_fn(move |_: Request<RetryBody<Full<Bytes>>>| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move {
            if number == 1 {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(held(if number == 0 { 503 } else { 200 }))
        }
    });
    let limit = tower::limit::GlobalConcurrencyLimitLayer::new(1);
    let client = ServiceBuilder::new()
        .layer(layer(2))
        .layer(limit)
        .service(target);

    // Dropped while it waits; then while its second attempt runs.
    for (millis, made) in [(50, 1), (150, 2)] {
        let call = clock::timeout(millis * MILLI, client.clone().oneshot(get("/")));
        if made == 2 {
            calls.store(0, Ordering::Relaxed);
        }
        assert!(call.await.is_err());
        clock::sleep(1_000 * MILLI).await;
        assert_eq!(calls.load(Ordering::Relaxed), made);
    }

    let response = client.oneshot(get("/")).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_layer_is_ready_while_the_inner_service_is_not() {
    let target = Target::that_answers([]);
    let limited = ConcurrencyLimitLayer::new(1).layer(target);
    let mut holder = limited.clone();
    ServiceExt::<Request<RetryBody<Full<Bytes>>>>::ready(&mut holder)
        .await
        .unwrap();
    let mut client: Retry<_, _> = layer(2).layer(limited);
    let mut cx = Context::from_waker(std::task::Waker::noop());

    let ready = Service::<Request<Full<Bytes>>>::poll_ready(&mut client, &mut cx);
    let mut call = Box::pin(client.call(get("/")));

    assert!(ready.is_ready());
    assert!(
        call.as_mut().poll(&mut cx).is_pending(),
        "it waits for the inner one itself"
    );
    drop(holder);
    assert_eq!(call.await.unwrap().status(), 200);
}
