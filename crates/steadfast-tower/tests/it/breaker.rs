use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use steadfast_core::decide::breaker::{BreakerConfig, BreakerState, Override};
use steadfast_core::report::Value;
use steadfast_core::{Context, clock, context};
use steadfast_tower::breaker::{Breakers, ENDPOINTS_MAX};
use steadfast_tower::classify::{CallEnd, StandardBoxed};
use steadfast_tower::policy::Signed;
use steadfast_tower::{BreakerLayer, CallError, Reason, Rejection, TimeoutLayer};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Lines, Panics, keeps_the_contract, poll_once, reported};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

type Answered = Result<Response<Full<Bytes>>, io::Error>;

/// Trips after two failures in a row, for a second, and is whole again after two good probes.
fn config() -> BreakerConfig {
    let config = BreakerConfig::new().with_consecutive(2).unwrap();
    let config = config.with_open_time(SECOND, SECOND).unwrap();
    let config = config.with_probes(2, 10 * SECOND).unwrap();
    config.with_ramp(Duration::ZERO).unwrap()
}

fn layer(name: &'static str) -> BreakerLayer {
    BreakerLayer::new(name, config()).unwrap()
}

fn status(status: u16) -> Answered {
    let response = Response::builder().status(status);
    Ok(response.body(Full::from("answer")).unwrap())
}

fn to(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

fn signed() -> Signed {
    Signed::new("ann", "INC-7").unwrap()
}

/// A target that is up or down.
#[derive(Clone, Default)]
struct Target {
    down: Arc<AtomicU32>,
    calls: Arc<AtomicUsize>,
}

impl Target {
    fn set(&self, status: u16) {
        self.down.store(status.into(), Ordering::Relaxed);
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    fn answer(&self) -> Answered {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match self.down.load(Ordering::Relaxed) {
            0 => status(200),
            down => status(down as u16),
        }
    }

    fn service(
        &self,
    ) -> impl Service<
        Request<Full<Bytes>>,
        Response = Response<Full<Bytes>>,
        Error = io::Error,
        Future = std::future::Ready<Answered>,
    > + Clone
    + use<> {
        let target = self.clone();
        service_fn(move |_| std::future::ready(target.answer()))
    }
}

fn state(breakers: &Breakers) -> BreakerState {
    breakers.endpoints()[0].breaker.state
}

/// Makes a call, and gives its status, or why it was rejected.
async fn ask<S, B, E>(client: &S, uri: &str) -> Result<u16, Reason>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = CallError<E>> + Clone,
    E: std::fmt::Debug,
{
    match client.clone().oneshot(to(uri)).await {
        Ok(response) => Ok(response.status().as_u16()),
        Err(CallError::Rejected(rejection)) => Err(rejection.reason()),
        Err(CallError::Inner(error)) => panic!("{error:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_is_left_alone_and_the_others_are_not() {
    let target = Target::default();
    let client = layer("breaker-a").layer(target.service());
    target.set(500);
    for _ in 0..2 {
        assert_eq!(ask(&client, "http://a.example/").await, Ok(500));
    }

    let error = client.clone().oneshot(to("http://A.example:80/x")).await;

    let rejection = error.unwrap_err().rejection().unwrap().clone();
    assert_eq!(rejection.reason(), Reason::BreakerOpen);
    assert_eq!(rejection.policy().as_str(), "breaker-a");
    assert_eq!(
        rejection.to_string(),
        "the dependency is failing (policy breaker-a): 2 of at most 2 failures in a row"
    );
    let after = rejection.retry_after().unwrap();
    assert!(after > 400 * MILLI && after <= 1_100 * MILLI, "{after:?}");
    assert_eq!(target.calls(), 2, "the third was never sent");
    assert_eq!(ask(&client, "http://b.example/").await, Ok(500));
    assert_eq!(ask(&client, "https://a.example/").await, Ok(500));
}

#[tokio::test(start_paused = true)]
async fn it_finds_out_when_the_endpoint_works_again_and_tells_every_change() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let target = Target::default();
    let layer = layer("breaker-b");
    let (client, breakers) = (layer.layer(target.service()), layer.breakers());
    let uri = "http://pay.example/";
    target.set(503);
    for _ in 0..2 {
        assert_eq!(ask(&client, uri).await, Ok(503));
    }
    assert_eq!(ask(&client, uri).await, Err(Reason::BreakerOpen));

    clock::sleep(SECOND).await;
    assert_eq!(ask(&client, uri).await, Ok(503), "a probe");
    assert_eq!(ask(&client, uri).await, Err(Reason::BreakerOpen));
    target.set(0);
    clock::sleep(SECOND).await;
    assert_eq!(ask(&client, uri).await, Ok(200));
    assert!(matches!(state(&breakers), BreakerState::HalfOpen { .. }));
    assert_eq!(ask(&client, uri).await, Ok(200));

    assert_eq!(state(&breakers), BreakerState::Closed);
    let told = lines.with("steadfast::breaker");
    let expected = [
        "the breaker is open: 2 failures in a row",
        "the breaker is half-open",
        "the breaker is open: of 1 probes 1 failed",
        "the breaker is half-open",
        "the breaker is closed: it has recovered",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (line, expected) in told.iter().zip(expected) {
        assert!(line.contains(expected), "{line}");
        assert!(line.contains("endpoint=\"pay.example:80\""), "{line}");
    }
    let count = |to| {
        reported(
            "steadfast_breaker_changes_total",
            &[("policy", "breaker-b"), ("to", to)],
        )
    };
    assert_eq!(count("open"), Some(Value::Counter(2)));
    assert_eq!(count("closed"), Some(Value::Counter(1)));
    assert_eq!(
        reported(
            "steadfast_breaker_rejected_total",
            &[("policy", "breaker-b")]
        ),
        Some(Value::Counter(2))
    );
    assert_eq!(
        reported(
            "steadfast_breaker_endpoints",
            &[("policy", "breaker-b"), ("state", "closed")]
        ),
        Some(Value::Gauge(1.0))
    );
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_about_the_endpoint_is_not_counted() {
    let layer = layer("breaker-c");
    let rejecting = service_fn(async |_: Request<Full<Bytes>>| {
        let rejection = Rejection::new(Reason::Overloaded, "limit");
        Err::<Response<Full<Bytes>>, _>(CallError::<io::Error>::Rejected(rejection))
    });
    let client = layer.layer(rejecting);
    for _ in 0..10 {
        let error = client.clone().oneshot(to("http://a.example/")).await;
        let CallError::Inner(CallError::Rejected(rejection)) = error.unwrap_err() else {
            panic!("the inner layer has rejected it")
        };
        assert_eq!(rejection.reason(), Reason::Overloaded);
    }
    let waiting = layer.layer(service_fn(async |_: Request<Full<Bytes>>| {
        std::future::pending::<Answered>().await
    }));
    for _ in 0..10 {
        let mut call = Box::pin(waiting.clone().oneshot(to("http://a.example/")));
        assert!(poll_once(call.as_mut()).await.is_none());
    }

    let status = &layer.breakers().endpoints()[0];
    assert_eq!(status.breaker.calls.calls, 0);
    assert!(status.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_nobody_waits_for_gives_its_permit_to_the_next() {
    let layer = layer("breaker-d");
    let target = Target::default();
    target.set(500);
    let client = layer.layer(target.service());
    for _ in 0..2 {
        assert_eq!(ask(&client, "http://a.example/").await, Ok(500));
    }
    clock::sleep(SECOND).await;
    let hanging = layer.layer(service_fn(async |_: Request<Full<Bytes>>| {
        std::future::pending::<Answered>().await
    }));
    let mut probes = Vec::new();
    for _ in 0..2 {
        let mut probe = Box::pin(hanging.clone().oneshot(to("http://a.example/")));
        assert!(poll_once(probe.as_mut()).await.is_none());
        probes.push(probe);
    }
    assert_eq!(
        ask(&client, "http://a.example/").await,
        Err(Reason::BreakerOpen),
        "both permits are out"
    );

    drop(probes);

    target.set(0);
    for _ in 0..2 {
        assert_eq!(ask(&client, "http://a.example/").await, Ok(200));
    }
    assert_eq!(state(&layer.breakers()), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn callers_in_a_hurry_cannot_open_it_and_a_target_that_hangs_can() {
    let layer = layer("breaker-e");
    let hanging =
        service_fn(async |_: Request<Full<Bytes>>| std::future::pending::<Answered>().await);
    let client = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(
            TimeoutLayer::fixed("breaker-e", SECOND)
                .unwrap()
                .for_client(),
        )
        .service(hanging);
    let call = async |time: Duration| {
        let call = client.clone().oneshot(to("http://a.example/"));
        let hurried = Context::new().with_deadline(clock::now() + time);
        match hurried.wrap(call).await {
            Err(CallError::Rejected(rejection)) => rejection.reason(),
            Err(CallError::Inner(CallError::Rejected(rejection))) => rejection.reason(),
            other => panic!("{other:?}"),
        }
    };

    for _ in 0..100 {
        assert_eq!(call(5 * MILLI).await, Reason::TimedOut);
    }
    assert!(layer.breakers().endpoints()[0].is_closed());
    for _ in 0..2 {
        assert_eq!(call(600 * MILLI).await, Reason::TimedOut);
    }
    assert_eq!(call(600 * MILLI).await, Reason::BreakerOpen);
}

/// Answers as a service of gRPC does: with a message, and the status in the trailers.
fn grpc(status: Option<&'static str>, fails: bool) -> Response<Frames> {
    let mut frames = vec![Ok(Frame::data(Bytes::from_static(b"\0\0\0\0\0")))];
    if fails {
        frames.push(Err(io::Error::other("reset")));
    }
    if let Some(status) = status {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        frames.push(Ok(Frame::trailers(trailers)));
    }
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(Frames(frames.into_iter())).unwrap()
}

struct Frames(std::vec::IntoIter<io::Result<Frame<Bytes>>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> task::Poll<Option<io::Result<Frame<Bytes>>>> {
        task::Poll::Ready(self.0.next())
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_of_grpc_counts_by_its_trailers() {
    let seen = async |name: &'static str, status: Option<&'static str>, fails: bool, read: bool| {
        let layer = layer(name);
        let client = layer.layer(service_fn(move |_: Request<Full<Bytes>>| {
            std::future::ready(Ok::<_, io::Error>(grpc(status, fails)))
        }));
        let response = client.oneshot(to("http://grpc.example/")).await.unwrap();
        assert_eq!(layer.breakers().endpoints()[0].breaker.calls.calls, 0);
        if read {
            let _ = response.into_body().collect().await;
        } else {
            drop(response);
        }
        let calls = layer.breakers().endpoints()[0].breaker.calls;
        (calls.calls, calls.failed)
    };

    assert_eq!(seen("grpc-ok", Some("0"), false, true).await, (1, 0));
    assert_eq!(seen("grpc-not-found", Some("5"), false, true).await, (1, 0));
    assert_eq!(
        seen("grpc-unavailable", Some("14"), false, true).await,
        (1, 1)
    );
    assert_eq!(seen("grpc-reset", None, true, true).await, (1, 1));
    assert_eq!(seen("grpc-without", None, false, true).await, (1, 1));
    assert_eq!(seen("grpc-left", Some("14"), false, false).await, (0, 0));
}

/// Gives what it has, and is never over.
struct Stream(Option<io::Result<Frame<Bytes>>>);

impl Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> task::Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.0.take() {
            Some(frame) => task::Poll::Ready(Some(frame)),
            None => task::Poll::Pending,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_whose_calls_are_streams_without_an_end_comes_back_with_their_first_messages() {
    let layer = layer("breaker-streams");
    let breakers = layer.breakers();
    let works = Arc::new(AtomicU32::new(0));
    let is_there = works.clone();
    let client = layer.layer(service_fn(move |_: Request<Full<Bytes>>| {
        let first = match is_there.load(Ordering::Relaxed) {
            0 => Err(io::Error::other("reset")),
            _ => Ok(Frame::data(Bytes::from_static(b"\0\0\0\0\0"))),
        };
        let response = Response::builder().header("content-type", "application/grpc");
        std::future::ready(Ok::<_, io::Error>(
            response.body(Stream(Some(first))).unwrap(),
        ))
    }));
    let call = async || {
        let called = client.clone().oneshot(to("http://grpc.example/")).await;
        let mut body = called.unwrap().into_body();
        let first = body.frame().await.unwrap();
        (first.is_ok(), body)
    };
    for _ in 0..2 {
        assert!(!call().await.0);
    }
    clock::sleep(SECOND).await;
    let (_, _gone) = call().await;
    assert!(matches!(state(&breakers), BreakerState::Open { .. }));
    works.store(1, Ordering::Relaxed);
    clock::sleep(SECOND).await;

    let (first, second) = (call().await, call().await);

    assert!(first.0 && second.0);
    assert_eq!(state(&breakers), BreakerState::Closed);
    let calls = breakers.endpoints()[0].breaker.calls;
    drop((first, second));
    assert_eq!(breakers.endpoints()[0].breaker.calls, calls);
}

#[tokio::test(start_paused = true)]
async fn a_classifier_or_a_name_that_panics_costs_no_call_and_no_permit() {
    let panics = Panics::of("breaker-f:");
    let layer = layer("breaker-f")
        .by_endpoint(|_| panic!("breaker-f: endpoint"))
        .classify_by(|_: Result<&http::response::Parts, &io::Error>| -> CallEnd {
            panic!("breaker-f: classifier")
        });
    let client = layer.layer(Target::default().service());

    for _ in 0..2 {
        assert_eq!(ask(&client, "http://a.example/").await, Ok(200));
    }

    assert_eq!(
        ask(&client, "http://a.example/").await,
        Err(Reason::BreakerOpen)
    );
    assert_eq!(layer.breakers().endpoints()[0].endpoint, "(unknown)");
    assert!(!panics.heard().is_empty());
}

#[tokio::test(start_paused = true)]
async fn thousands_of_endpoints_take_bounded_memory_and_those_nobody_calls_make_room() {
    let layer = layer("breaker-g");
    let target = Target::default();
    let client = layer.layer(target.service());
    target.set(500);
    for _ in 0..2 {
        assert_eq!(ask(&client, "http://first.example/").await, Ok(500));
    }
    for n in 0..5_000 {
        let _ = ask(&client, &format!("http://n{n}.example/")).await;
    }

    let known = layer.breakers().endpoints();
    assert_eq!(known.len(), ENDPOINTS_MAX + 1, "and one for all others");
    assert_eq!(
        ask(&client, "http://first.example/").await,
        Err(Reason::BreakerOpen),
        "who was there keeps its own"
    );
    assert_eq!(
        ask(&client, "http://n4999.example/").await,
        Err(Reason::BreakerOpen),
        "the others share one"
    );

    clock::sleep(BreakerConfig::LONGEST_OPEN + SECOND).await;
    target.set(0);
    assert_eq!(ask(&client, "http://new.example/").await, Ok(200));
    let names: Vec<_> = layer.breakers().endpoints();
    assert!(names.iter().any(|of| of.endpoint == "new.example:80"));
    assert!(names.len() <= 2, "{}", names.len());
}

#[tokio::test(start_paused = true)]
async fn an_operator_holds_all_endpoints_open_also_those_to_come_and_it_ends_by_itself() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let layer = layer("breaker-h");
    let (client, breakers) = (layer.layer(Target::default().service()), layer.breakers());
    assert_eq!(ask(&client, "http://a.example/").await, Ok(200));

    breakers
        .force(Override::Open, 60 * SECOND, signed())
        .unwrap();

    for uri in ["http://a.example/", "http://b.example/"] {
        assert_eq!(ask(&client, uri).await, Err(Reason::BreakerOpen), "{uri}");
    }
    let shown = breakers.endpoints()[1].to_string();
    assert!(
        shown.contains("an operator forces the breaker open for 60.0s more (ann: INC-7)"),
        "{shown}"
    );
    assert!(!breakers.endpoints()[0].is_closed());
    assert_eq!(lines.with("author=\"ann\"").len(), 1);

    clock::sleep(61 * SECOND).await;
    for uri in [
        "http://a.example/",
        "http://b.example/",
        "http://c.example/",
    ] {
        assert_eq!(ask(&client, uri).await, Ok(200), "{uri}");
    }
    assert!(breakers.endpoints().iter().all(|of| of.forced_by.is_none()));
}

#[tokio::test(start_paused = true)]
async fn one_endpoint_is_held_closed_until_it_is_released() {
    let layer = layer("breaker-i");
    let target = Target::default();
    let (client, breakers) = (layer.layer(target.service()), layer.breakers());
    target.set(500);
    assert_eq!(ask(&client, "http://a.example/").await, Ok(500));

    let (hour, name) = (3_600 * SECOND, "a.example:80");
    breakers
        .force_endpoint(name, Override::Closed, hour, signed())
        .unwrap();
    for _ in 0..10 {
        assert_eq!(ask(&client, "http://a.example/").await, Ok(500));
    }
    assert_eq!(breakers.release_endpoint(name, &signed()), Ok(true));
    assert_eq!(breakers.release_endpoint(name, &signed()), Ok(false));

    assert_eq!(ask(&client, "http://a.example/").await, Ok(500), "it trips");
    assert_eq!(
        ask(&client, "http://a.example/").await,
        Err(Reason::BreakerOpen)
    );
    let refused = |name: &str, lasts| {
        let forced = breakers.force_endpoint(name, Override::Open, lasts, signed());
        forced.unwrap_err().to_string()
    };
    assert_eq!(
        refused("a.exampel:80", hour),
        "breaker-i has no endpoint \"a.exampel:80\" so far; did you mean \"a.example:80\"?"
    );
    assert!(refused(name, 25 * hour).contains("is not over 0 and up to 86400s"));
}

#[tokio::test]
async fn it_keeps_the_contract_of_tower() {
    keeps_the_contract(layer("breaker-j")).await;
}

#[tokio::test]
async fn errors_stay_what_they_are_and_boxed_ones_are_judged() {
    let refused = service_fn(async |_: Request<Full<Bytes>>| {
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        Err::<Response<Full<Bytes>>, _>(BoxError::from(error))
    });
    let client = layer("breaker-k").classify_by(StandardBoxed).layer(refused);
    let call = async || {
        client
            .clone()
            .oneshot(to("http://a.example/"))
            .await
            .unwrap_err()
    };

    for _ in 0..2 {
        let error = call().await.into_inner().unwrap();
        assert!(error.is::<io::Error>());
    }

    assert!(call().await.rejection().is_some());
}

#[tokio::test(start_paused = true)]
async fn clones_and_threads_share_one_breaker() {
    let layer = layer("breaker-l");
    let target = Target::default();
    target.set(500);
    let answers = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..4 {
        // As for each connection.
        let client = layer.clone().layer(target.service());
        let answer = ask(&client, "http://a.example/").await;
        answers.lock().unwrap().push(answer);
    }

    let open = Err(Reason::BreakerOpen);
    assert_eq!(*answers.lock().unwrap(), [Ok(500), Ok(500), open, open]);
    assert_eq!(context::current().trace_id(), None);
}
