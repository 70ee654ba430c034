use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use steadfast_core::decide::policy::Timeout;
use steadfast_core::{Context, clock, context};
use steadfast_tower::{CallError, DeadlineLayer, PropagateDeadlineLayer, Reason};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Lines, Shop, get, json, keeps_the_contract, poll_once};

const SECOND: Duration = Duration::from_secs(1);

fn timeout(seconds: u32) -> Timeout {
    Timeout::new(seconds * SECOND).unwrap()
}

fn request(headers: &[(&'static str, &str)]) -> Request<Full<Bytes>> {
    let mut request = get("/orders");
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

/// Gives the time that a handler has left; `None` without a deadline. It must be served.
async fn left(layer: &DeadlineLayer, headers: &[(&'static str, &str)]) -> Option<Duration> {
    let service = layer.layer(service_fn(async |_: Request<Full<Bytes>>| {
        let task = steadfast_core::spawn("aside", async { context::current().time_left() });
        let mut response = Response::new(Full::<Bytes>::default());
        response.extensions_mut().insert(task.await.unwrap());
        Ok::<_, Infallible>(response)
    }));

    let response = service.oneshot(request(headers)).await.unwrap();

    assert_eq!(response.status(), 200, "{headers:?}");
    *response.extensions().get().unwrap()
}

#[tokio::test(start_paused = true)]
async fn at_the_edge_a_client_may_only_shorten_its_time() {
    let layer = DeadlineLayer::edge(timeout(5));
    for (headers, seconds) in [
        (&[][..], 5),
        (&[("x-steadfast-timeout-ms", "2000")], 2),
        (&[("grpc-timeout", "3S")], 3),
        (&[("x-envoy-expected-rq-timeout-ms", "4000")], 4),
        (&[("x-steadfast-timeout-ms", "60000")], 5),
        (&[("x-steadfast-timeout-ms", "99999999999999999999999")], 5),
        (&[("x-steadfast-timeout-ms", "-1")], 5),
        (&[("x-steadfast-timeout-ms", "soon")], 5),
        (&[("x-envoy-expected-rq-timeout-ms", "0")], 5),
        (&[("grpc-timeout", "3S"), ("grpc-timeout", "2S")], 2),
    ] {
        assert_eq!(
            left(&layer, headers).await,
            Some(seconds * SECOND),
            "{headers:?}"
        );
    }
    assert_eq!(
        context::current().deadline(),
        None,
        "nothing is left behind"
    );
}

#[tokio::test(start_paused = true)]
async fn inside_the_caller_is_believed_up_to_a_bound() {
    let layer = DeadlineLayer::inside(timeout(5), timeout(60));
    for (headers, seconds) in [
        (&[][..], 5),
        (&[("x-steadfast-timeout-ms", "2000")], 2),
        (&[("x-steadfast-timeout-ms", "20000")], 20),
        (&[("x-steadfast-timeout-ms", "61000")], 60),
        (&[("grpc-timeout", "99999999H")], 60),
        (&[("x-steadfast-timeout-ms", "1e4")], 5),
    ] {
        assert_eq!(
            left(&layer, headers).await,
            Some(seconds * SECOND),
            "{headers:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn each_request_may_have_its_own_time_and_a_stream_as_long_as_it_takes() {
    let layer = DeadlineLayer::edge(timeout(5)).by(|request| {
        let kind = request.headers.get("x-kind").map(|kind| kind.as_bytes());
        match kind {
            Some(b"stream") => None,
            Some(b"panic") => panic!("tower-deadline: by"),
            _ => Some(timeout(9)),
        }
    });
    for (headers, seconds) in [
        (&[][..], Some(9)),
        (&[("x-kind", "stream")], None),
        (&[("x-kind", "stream"), ("grpc-timeout", "7S")], Some(7)),
        (&[("x-kind", "panic")], Some(5)),
        (&[("x-kind", "panic"), ("grpc-timeout", "7S")], Some(5)),
    ] {
        let seconds = seconds.map(|seconds| seconds * SECOND);
        assert_eq!(left(&layer, headers).await, seconds, "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_from_around_stays_if_it_is_nearer() {
    let layer = DeadlineLayer::inside(timeout(5), timeout(60));
    let around = Context::new().with_deadline(clock::now() + SECOND);

    let left = around.wrap(left(&layer, &[("grpc-timeout", "9S")])).await;

    assert_eq!(left, Some(SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_too_late_is_rejected_before_anything_runs() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let handler = service_fn(move |_: Request<Full<Bytes>>| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    let service = DeadlineLayer::edge(timeout(5)).layer(handler);
    let late = Context::new().with_deadline(clock::now());
    clock::sleep(SECOND).await;

    let zero = service
        .clone()
        .oneshot(request(&[("x-steadfast-timeout-ms", "0")]));
    let zero = zero.await.unwrap();
    let grpc = [("grpc-timeout", "0m"), ("content-type", "application/grpc")];
    let grpc = service.clone().oneshot(request(&grpc)).await.unwrap();
    let around = late.wrap(service.oneshot(request(&[]))).await.unwrap();

    assert_eq!(zero.status(), 504);
    assert_eq!(grpc.headers()["grpc-status"], "4");
    assert_eq!(around.status(), 504);
    let problem = json(around).await;
    assert_eq!(problem["type"], "urn:steadfast:problem:deadline-passed");
    assert_eq!(problem["observed"], 1);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_inner_service_counts() {
    let shop = Shop::default();
    let limited = ConcurrencyLimit::new(shop.clone(), 1);
    let mut service = DeadlineLayer::edge(timeout(5)).layer(limited);
    let mut first = Box::pin(service.ready().await.unwrap().call(get("/wait")));
    assert!(poll_once(first.as_mut()).await.is_none());

    // It is ready although the inner service is not: the decision must not wait.
    let second = service.ready().await.unwrap();
    let mut second = Box::pin(second.call(request(&[("x-steadfast-timeout-ms", "0")])));

    let answer = poll_once(second.as_mut()).await.expect("it does not wait");
    assert_eq!(answer.unwrap().status(), 504);
    assert_eq!(shop.live(), 1);
}

/// What a client sends from a request with so much time left.
async fn sent(
    left: Option<Duration>,
    headers: &[(&'static str, &str)],
) -> Result<HeaderMap, CallError<io::Error>> {
    let seen = Arc::new(Mutex::new(None));
    let see = seen.clone();
    let client =
        PropagateDeadlineLayer::new().layer(service_fn(move |request: Request<Full<Bytes>>| {
            *see.lock().unwrap() = Some(request.headers().clone());
            async { Ok(()) }
        }));
    // A route of its own: the line of a reason is written once a second for each.
    let around = Context::new().with_route("sent");
    let around = match left {
        Some(left) => around.with_deadline(clock::now() + left),
        None => around,
    };

    let answer = around.wrap(client.oneshot(request(headers))).await;

    let seen = seen.lock().unwrap().take();
    assert_eq!(
        seen.is_some(),
        answer.is_ok(),
        "what is rejected is not sent"
    );
    answer.map(|()| seen.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_call_tells_the_time_that_is_left() {
    let stale = [
        ("x-steadfast-timeout-ms", "9000"),
        ("x-steadfast-timeout-ms", "9"),
    ];
    let grpc = ("content-type", "application/grpc");

    let http = sent(Some(2 * SECOND), &stale).await.unwrap();
    assert_eq!(http.get_all("x-steadfast-timeout-ms").iter().count(), 1);
    assert_eq!(http["x-steadfast-timeout-ms"], "2000");
    assert!(!http.contains_key("grpc-timeout"));

    for (own, told) in [
        (None, "2000000u"),
        (Some("9S"), "2000000u"),
        (Some("1S"), "1000000u"),
    ] {
        let mut headers = vec![grpc];
        headers.extend(own.map(|own| ("grpc-timeout", own)));
        let sent = sent(Some(2 * SECOND), &headers).await.unwrap();

        assert_eq!(sent["grpc-timeout"], told);
        assert_eq!(sent["x-steadfast-timeout-ms"], "2000");
    }

    let endless = sent(None, &[stale[0], grpc, ("grpc-timeout", "1S")])
        .await
        .unwrap();
    assert!(!endless.contains_key("x-steadfast-timeout-ms"));
    assert_eq!(endless["grpc-timeout"], "1S");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_time_is_over_is_an_error_and_is_not_sent() {
    let lines = Lines::default();
    let listening = lines.listen();

    let error = sent(Some(Duration::ZERO), &[]).await.unwrap_err();
    drop(listening);

    let rejection = error.rejection().expect("it is a rejection");
    assert_eq!(rejection.reason(), Reason::DeadlinePassed);
    assert!(rejection.reason().is_unsent());
    assert_eq!(lines.with("deadline-passed").len(), 1, "{}", lines.text());
}

#[tokio::test]
async fn errors_of_the_inner_service_keep_their_type_and_value() {
    let failing =
        service_fn(async |_: Request<Full<Bytes>>| Err::<(), _>(io::Error::other("broken")));

    let error = PropagateDeadlineLayer::new()
        .layer(failing)
        .oneshot(get("/"))
        .await;

    let error: CallError<io::Error> = error.unwrap_err();
    assert_eq!(error.into_inner().unwrap().to_string(), "broken");
}

#[tokio::test]
async fn it_keeps_the_contract_of_tower() {
    keeps_the_contract(DeadlineLayer::edge(timeout(60))).await;
    keeps_the_contract(DeadlineLayer::inside(timeout(60), timeout(60))).await;
    keeps_the_contract(PropagateDeadlineLayer::new()).await;
}
