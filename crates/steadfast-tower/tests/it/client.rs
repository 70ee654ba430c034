//! The whole stack around a client, from one policy.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use steadfast_core::context::Tier;
use steadfast_core::decide::breaker::{BreakerState, Override};
use steadfast_core::report::Value;
use steadfast_core::{Context, clock};
use steadfast_tower::guard::ClientBody;
use steadfast_tower::policy::Signed;
use steadfast_tower::{CallError, Guard, PolicyDocument, Reason};
use tower::limit::ConcurrencyLimitLayer;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Lines, keeps_the_contract, poll_once, reported};

const MILLI: Duration = Duration::from_millis(1);

const POLICY: &str = r#"
[timeouts.quick]
timeout = "500ms"

[admissions.few]
permits = 2
queue = 1
queue_wait = "100ms"

[breakers.careful]
consecutive = 4
half_open = 1
open = "5s"
ramp = "1ms"

[retries.once_more]
attempts = 2
budget = "50 %"
first_wait = "20ms"

[hedges.late]
delay = "200ms"
budget = "20 %"

[dependencies.payments]
methods = ["GET", "PUT", "POST"]
idempotency_key = true
timeout = "quick"
admission = "few"
breaker = "careful"
retry = "once_more"

[dependencies.stock]
methods = ["GET"]
timeout = "quick"
breaker = "careful"
hedge = "late"
"#;

fn guard() -> Guard {
    guard_of(POLICY)
}

fn guard_of(policy: &str) -> Guard {
    let document = PolicyDocument::new("policy.toml", policy);
    let document = document.unwrap_or_else(|problems| panic!("{problems}"));
    Guard::new(document.policy().clone()).unwrap()
}

type Sent = Request<ClientBody<Full<Bytes>>>;
type Answered = io::Result<Response<Full<Bytes>>>;

fn get(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

fn status(status: u16) -> Answered {
    Ok(Response::builder()
        .status(status)
        .body(Full::from("answer"))
        .unwrap())
}

fn signed() -> Signed {
    Signed::new("ann", "INC-7").unwrap()
}

/// What the transport was told.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<HeaderMap>>>);

impl Seen {
    fn note(&self, request: &Sent) {
        self.0.lock().unwrap().push(request.headers().clone());
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn all(&self, name: &str) -> Vec<String> {
        let seen = self.0.lock().unwrap();
        let text = |headers: &HeaderMap| match headers.get(name) {
            Some(value) => value.to_str().unwrap().to_owned(),
            None => "none".to_owned(),
        };
        seen.iter().map(text).collect()
    }
}

/// A transport that gives whatever `answer` does.
fn transport<F>(
    seen: &Seen,
    answer: impl Fn() -> F + Clone + Send + Sync,
) -> impl Service<Sent, Response = Response<Full<Bytes>>, Error = io::Error, Future: Send> + Clone
where
    F: Future<Output = Answered> + Send,
{
    let seen = seen.clone();
    service_fn(move |request: Sent| {
        seen.note(&request);
        answer()
    })
}

fn reason<T, E: std::fmt::Debug>(answer: Result<T, CallError<E>>) -> Option<Reason> {
    Some(answer.err()?.rejection()?.reason())
}

#[tokio::test(start_paused = true)]
async fn every_attempt_is_bounded_and_is_told_what_is_known() {
    let (guard, seen) = (guard(), Seen::default());
    let payments = ServiceBuilder::new()
        .layer(guard.client("payments").unwrap())
        .service(transport(&seen, std::future::pending::<Answered>));
    let begun = clock::now();
    let facts = Context::new()
        .with_trace_id("0af7651916cd43dd8448eb211c80319c".parse().unwrap())
        .with_tier(Tier::CORE)
        .with_deadline(clock::now() + 3_000 * MILLI);

    let call = facts.wrap(payments.oneshot(get("http://pay.example/holds/7")));
    let error = call.await.unwrap_err();

    let rejection = error.rejection().unwrap();
    assert_eq!(rejection.reason(), Reason::TimedOut);
    assert_eq!(rejection.policy().as_str(), "payments");
    let took = clock::now() - begun;
    assert!((1_000 * MILLI..=1_021 * MILLI).contains(&took), "{took:?}");
    assert_eq!(seen.all("x-steadfast-attempt"), ["1/2", "2/2"]);
    assert_eq!(seen.all("x-steadfast-timeout-ms"), ["500", "500"]);
    assert_eq!(seen.all("x-steadfast-tier"), ["none", "none"], "not ours");
    let spans = seen.all("traceparent");
    assert!(spans[0].starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    assert_ne!(spans[0], spans[1], "each has a span of its own");
    let failed = reported(
        "steadfast_dependency_calls_total",
        &[("dependency", "payments"), ("ended", "failure")],
    );
    assert!(failed.is_some());
    assert_eq!(guard.dependencies()[0].failed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_of_ours_is_told_the_tier_too() {
    let (guard, seen) = (guard(), Seen::default());
    let stock = ServiceBuilder::new()
        .layer(guard.client("stock").unwrap().inside())
        .service(transport(&seen, || async { status(200) }));

    let call = stock.oneshot(get("http://stock.example/tea"));
    Context::new()
        .with_tier(Tier::CORE)
        .wrap(call)
        .await
        .unwrap();

    assert_eq!(seen.all("x-steadfast-tier"), ["0"]);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_stops_calls_and_retries_until_the_target_works_again() {
    let (guard, seen) = (guard(), Seen::default());
    let down = Arc::new(Mutex::new(true));
    let answer = {
        let down = down.clone();
        move || {
            let down = *down.lock().unwrap();
            async move { status(if down { 503 } else { 200 }) }
        }
    };
    let payments = ServiceBuilder::new()
        .layer(guard.client("payments").unwrap())
        .service(transport(&seen, answer));
    let call = || payments.clone().oneshot(get("http://pay.example/holds/7"));

    // One retry by the reserve of the budget; then there is none, since nothing succeeds.
    for _ in 0..3 {
        assert_eq!(call().await.unwrap().status(), 503);
    }
    assert_eq!(seen.count(), 4, "the fourth failure in a row trips it");
    let begun = clock::now();
    let error = call().await.unwrap_err();

    let rejection = error.rejection().unwrap();
    assert_eq!(rejection.reason(), Reason::BreakerOpen);
    assert!(rejection.retry_after().unwrap() > 2_000 * MILLI);
    assert_eq!(
        clock::now(),
        begun,
        "it is told at once, and not tried again"
    );
    assert_eq!(seen.count(), 4);
    let stops = reported(
        "steadfast_retry_stops_total",
        &[("policy", "payments"), ("reason", "breaker-not-closed")],
    );
    assert!(matches!(stops, Some(Value::Counter(1..))), "{stops:?}");
    let shown = guard.dependencies()[0].to_string();
    assert!(shown.contains("pay.example:80 is open for"), "{shown}");

    *down.lock().unwrap() = false;
    clock::sleep(5_000 * MILLI).await;
    assert_eq!(call().await.unwrap().status(), 200);
    clock::sleep(10 * MILLI).await;
    assert_eq!(call().await.unwrap().status(), 200);
    let endpoints = guard.breakers("payments").unwrap().endpoints();
    assert_eq!(endpoints[0].breaker.state, BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn slow_calls_are_hedged_and_calls_at_once_are_limited() {
    let (guard, seen) = (guard(), Seen::default());
    let slow = Arc::new(Mutex::new(0));
    let answer = {
        let slow = slow.clone();
        move || {
            let wait = std::mem::take(&mut *slow.lock().unwrap());
            async move {
                clock::sleep(wait * MILLI).await;
                status(200)
            }
        }
    };
    let http = transport(&seen, answer);
    let stock = ServiceBuilder::new()
        .layer(guard.client("stock").unwrap())
        .service(http);
    for _ in 0..5 {
        let tea = get("http://stock.example/tea");
        stock.clone().oneshot(tea).await.unwrap();
    }
    *slow.lock().unwrap() = 450;
    let begun = clock::now();
    stock
        .oneshot(get("http://stock.example/tea"))
        .await
        .unwrap();
    assert_eq!(seen.count(), 7);
    assert!(clock::now() - begun < 210 * MILLI);
    assert_eq!(guard.dependencies()[1].hedge_delay, Some(200 * MILLI));

    let payments = ServiceBuilder::new()
        .layer(guard.client("payments").unwrap())
        .service(transport(&seen, || async {
            clock::sleep(50 * MILLI).await;
            status(200)
        }));
    let call = || payments.clone().oneshot(get("http://pay.example/holds/7"));
    let (a, b, c, d) = tokio::join!(call(), call(), call(), call());
    // A body that is not read holds its permit.
    assert!(a.is_ok() && b.is_ok());
    for rejected in [reason(c), reason(d)] {
        let full = [Some(Reason::WaitedTooLong), Some(Reason::Overloaded)];
        assert!(full.contains(&rejected), "{rejected:?}");
    }
    let endpoints = guard.breakers("payments").unwrap().endpoints();
    assert!(
        endpoints[0].is_closed(),
        "rejections of ours are no failures"
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_counts_only_where_the_target_honors_keys() {
    let attempts = async |honors: &str| {
        let policy = POLICY.replace("idempotency_key = true", honors);
        let (guard, seen) = (guard_of(&policy), Seen::default());
        let payments = ServiceBuilder::new()
            .layer(guard.client("payments").unwrap())
            .service(transport(&seen, || async { status(503) }));
        let mut post = get("http://pay.example/holds");
        *post.method_mut() = http::Method::POST;
        post.headers_mut()
            .insert("idempotency-key", "7".parse().unwrap());
        payments.oneshot(post).await.unwrap();
        seen.count()
    };

    assert_eq!(attempts("idempotency_key = true").await, 2);
    assert_eq!(attempts("idempotency_key = false").await, 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_policy_forgot_or_misspelt_is_told() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let (guard, seen) = (guard(), Seen::default());
    assert_eq!(guard.armed().unused, ["payments", "stock"]);
    assert!(!guard.armed().is_clean());
    assert!(guard.armed().to_string().contains("payments, stock"));

    let error = guard.client("paymnets").unwrap_err().to_string();
    assert!(
        error.contains("no dependency \"paymnets\"; did you mean \"payments\"?"),
        "{error}"
    );
    assert!(guard.breakers("search").is_err());

    let payments = ServiceBuilder::new()
        .layer(guard.client("payments").unwrap())
        .service(transport(&seen, || async { status(200) }));
    assert_eq!(guard.armed().unused, ["stock"]);
    let mut odd = get("http://pay.example/holds");
    *odd.method_mut() = http::Method::PATCH;
    payments.oneshot(odd).await.unwrap();
    assert_eq!(lines.with("method=\"PATCH\"").len(), 1);
}

#[test]
fn numbers_that_a_part_refuses_are_refused_with_their_dependency() {
    for (from, to, part) in [
        (
            "budget = \"20 %\"",
            "budget = \"50 %\"",
            "dependencies.stock: share of 0.5",
        ),
        (
            "half_open = 1",
            "half_open = 2000",
            "dependencies.payments: probes 2000",
        ),
    ] {
        let policy = POLICY.replace(from, to);
        let document = PolicyDocument::new("policy.toml", policy).unwrap();

        let error = Guard::new(document.policy().clone())
            .unwrap_err()
            .to_string();

        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_breaker_in_shadow_rejects_nothing() {
    let policy = POLICY.replace("consecutive = 4", "consecutive = 4\nshadow = true");
    let (guard, seen) = (guard_of(&policy), Seen::default());
    let stock = ServiceBuilder::new()
        .layer(guard.client("stock").unwrap())
        .service(transport(&seen, || async { status(500) }));

    for _ in 0..10 {
        let answer = stock.clone().oneshot(get("http://stock.example/tea")).await;
        assert_eq!(answer.unwrap().status(), 500);
    }

    let breakers = guard.breakers("stock").unwrap();
    assert!(breakers.is_shadow());
    assert!(matches!(
        breakers.endpoints()[0].breaker.state,
        BreakerState::Open { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn an_operator_cuts_a_dependency_off_for_a_while() {
    let (guard, seen) = (guard(), Seen::default());
    let stock = ServiceBuilder::new()
        .layer(guard.client("stock").unwrap())
        .service(transport(&seen, || async { status(200) }));
    let call = || stock.clone().oneshot(get("http://stock.example/tea"));
    let breakers = guard.breakers("stock").unwrap();

    breakers
        .force(Override::Open, 60_000 * MILLI, signed())
        .unwrap();

    assert_eq!(reason(call().await), Some(Reason::BreakerOpen));
    clock::sleep(60_010 * MILLI).await;
    assert_eq!(call().await.unwrap().status(), 200, "it ends by itself");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_for_a_caller_that_has_gone() {
    let (guard, seen) = (guard(), Seen::default());
    let stock = ServiceBuilder::new()
        .layer(guard.client("stock").unwrap())
        .service(transport(&seen, std::future::pending::<Answered>));
    // A route of its own: of each one line a second is told.
    let late = Context::new().with_route("client-late");
    let late = late.with_deadline(clock::now());

    let call = stock.clone().oneshot(get("http://stock.example/tea"));
    let answer = late.wrap(call).await;

    assert_eq!(reason(answer), Some(Reason::DeadlinePassed));
    assert_eq!(seen.count(), 0);
    let mut left = Box::pin(stock.oneshot(get("http://stock.example/tea")));
    assert!(poll_once(left.as_mut()).await.is_none());
    drop(left);
    let status = &guard.dependencies()[1];
    assert_eq!((status.rejected, status.dropped), (1, 1));
}

#[tokio::test]
async fn it_keeps_the_contract_of_tower() {
    let guard = guard();
    let client = guard.client("stock").unwrap();
    let plain = |request: Sent| request.map(|_| Full::default());
    keeps_the_contract(ServiceBuilder::new().layer(client).map_request(plain)).await;
}

#[tokio::test(start_paused = true)]
async fn readiness_is_waited_for_within_the_time_of_an_attempt() {
    let (guard, seen) = (guard(), Seen::default());
    let stock = ServiceBuilder::new()
        .layer(guard.client("stock").unwrap())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(transport(&seen, std::future::pending::<Answered>));
    let call = || stock.clone().oneshot(get("http://stock.example/tea"));

    let (first, second) = tokio::join!(call(), call());

    assert_eq!(reason(first), Some(Reason::TimedOut));
    assert_eq!(reason(second), Some(Reason::TimedOut));
}

#[tokio::test]
async fn errors_stay_what_they_are_also_boxed_ones() {
    let guard = guard();
    fn refused() -> io::Error {
        io::ErrorKind::ConnectionRefused.into()
    }
    let plain = ServiceBuilder::new()
        .layer(guard.client("stock").unwrap())
        .service(service_fn(async |_: Sent| {
            Err::<Response<Full<Bytes>>, _>(refused())
        }));
    let boxed = ServiceBuilder::new()
        .layer(guard.client("stock").unwrap().boxed_errors())
        .service(service_fn(async |_: Sent| {
            Err::<Response<Full<Bytes>>, _>(BoxError::from(refused()))
        }));

    let plain = plain.oneshot(get("http://stock.example/")).await;
    let boxed = boxed.oneshot(get("http://stock.example/")).await;

    let kind = plain.unwrap_err().into_inner().unwrap().kind();
    assert_eq!(kind, io::ErrorKind::ConnectionRefused);
    assert!(boxed.unwrap_err().into_boxed().is::<io::Error>());
    let endpoints = guard.breakers("stock").unwrap().endpoints();
    assert_eq!(endpoints[0].breaker.calls.failed, 2);
}

// === gRPC ===

/// A body as that of tonic: messages, and the status in the trailers.
struct Messages(std::vec::IntoIter<Frame<Bytes>>);

impl Body for Messages {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        task::Poll::Ready(self.0.next().map(Ok))
    }
}

/// A channel as that of tonic: cheap to clone, ready by itself, with an error of its own.
#[derive(Clone)]
struct Channel {
    status: &'static str,
    seen: Seen,
}

impl<B> Service<Request<B>> for Channel
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Messages>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Response<Messages>>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let headers = request.headers().clone();
        self.seen.0.lock().unwrap().push(headers);
        let status = self.status;
        Box::pin(async move {
            let _ = request.into_body().collect().await;
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", status.parse().unwrap());
            let message = Frame::data(Bytes::from_static(b"\0\0\0\0\0"));
            let frames = vec![message, Frame::trailers(trailers)];
            let response = Response::builder().header("content-type", "application/grpc");
            Ok(response.body(Messages(frames.into_iter())).unwrap())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_of_grpc_fits_and_its_trailers_open_the_breaker() {
    let guard = guard();
    let channel = Channel {
        status: "14",
        seen: Seen::default(),
    };
    let payments = ServiceBuilder::new()
        .layer(guard.client("payments").unwrap())
        .service(channel.clone());
    let call = async || {
        let request = Request::post("http://pay.example/pay.Holds/Put")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let request = request.body(Full::from("\0\0\0\0\0")).unwrap();
        let deadline = Context::new().with_deadline(clock::now() + 300 * MILLI);
        let response = deadline.wrap(payments.clone().oneshot(request)).await?;
        let read = response.into_body().collect().await.unwrap();
        Ok::<_, CallError<io::Error>>(read.trailers().unwrap()["grpc-status"].clone())
    };

    for _ in 0..4 {
        assert_eq!(call().await.unwrap(), "14", "its own trailers come through");
    }

    assert_eq!(reason(call().await), Some(Reason::BreakerOpen));
    let status = &guard.dependencies()[0];
    let ends = (status.succeeded, status.failed, status.rejected);
    assert_eq!(ends, (0, 4, 1), "a call is counted by its trailers, too");
    assert_eq!(channel.seen.count(), 4);
    assert_eq!(channel.seen.all("x-steadfast-timeout-ms")[0], "300");
    assert_ne!(channel.seen.all("grpc-timeout")[0], "none");
}

#[tokio::test(start_paused = true)]
async fn a_call_of_grpc_is_counted_once_by_its_status_wherever_that_comes() {
    let guard = guard();
    let grpc = |status: &'static str| {
        let transport = service_fn(move |_: Request<ClientBody<Full<Bytes>>>| {
            let head = Response::builder().header("content-type", "application/grpc");
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", status.parse().unwrap());
            let message = Frame::data(Bytes::from_static(b"\0\0\0\0\0"));
            let (head, frames) = match status {
                // Trailers only.
                "13" => (head.header("grpc-status", status), vec![]),
                "" => (head, vec![message]),
                _ => (head, vec![message, Frame::trailers(trailers)]),
            };
            let response = head.body(Messages(frames.into_iter())).unwrap();
            std::future::ready(Ok::<_, io::Error>(response))
        });
        let client = guard.client("payments").unwrap().layer(transport);
        let request = Request::post("http://pay.example/pay.Holds/Put");
        let request = request.header("content-type", "application/grpc");
        client.oneshot(request.body(Full::default()).unwrap())
    };
    let ends = || {
        let of = &guard.dependencies()[0];
        [of.succeeded, of.failed, of.rejected, of.dropped]
    };

    let answer = grpc("0").await.unwrap();
    assert_eq!(ends(), [0; 4], "its status has not come");
    answer.into_body().collect().await.unwrap();
    assert_eq!(ends(), [1, 0, 0, 0]);
    grpc("14")
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap();
    assert_eq!(ends(), [1, 1, 0, 0]);
    // Counted with the head, and not once more when that body is dropped.
    drop(grpc("13").await.unwrap());
    assert_eq!(ends(), [1, 2, 0, 0]);
    grpc("").await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(ends(), [1, 3, 0, 0], "no status is none");
    drop(grpc("0").await.unwrap());
    assert_eq!(ends(), [1, 3, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn whoever_names_endpoints_is_asked_once_for_a_call_with_all_its_attempts() {
    let guard = guard();
    let (asked, seen) = (Arc::new(Mutex::new(0)), Seen::default());
    let ask = asked.clone();
    let layer = guard.client("payments").unwrap().by_endpoint(move |_| {
        let mut asked = ask.lock().unwrap();
        *asked += 1;
        Some(format!("shard-{asked}"))
    });
    let payments = layer.layer(transport(&seen, || std::future::ready(status(503))));

    for calls in 1..=2 {
        let answer = payments.clone().oneshot(get("http://pay.example/")).await;

        assert_eq!(answer.unwrap().status(), 503);
        assert_eq!((*asked.lock().unwrap(), seen.count()), (calls, 2 * calls));
    }
    let endpoints = guard.dependencies().swap_remove(0).endpoints;
    let names = endpoints.iter().map(|of| of.endpoint.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["shard-1", "shard-2"]);
}
