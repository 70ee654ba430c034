//! How long the attempts of a client took, and how they ended.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use steadfast_core::report::{self, Value};
use steadfast_core::{Context, clock, recover_async};
use steadfast_tower::guard::ClientBody;
use steadfast_tower::{Guard, PolicyDocument, Reason};
use tower::{Layer, Service, ServiceExt, service_fn};

const MILLI: Duration = Duration::from_millis(1);

type Sent = Request<ClientBody<Full<Bytes>>>;
type Answered = io::Result<Response<Full<Bytes>>>;

/// A guard whose one dependency has a timeout of half a second, and whatever else is said.
fn guard(dependency: &str, parts: &str, uses: &str) -> Guard {
    let text = format!(
        "[timeouts.quick]\ntimeout = \"500ms\"\n{parts}\n\
         [dependencies.{dependency}]\nmethods = [\"GET\"]\ntimeout = \"quick\"\n{uses}\n"
    );
    let document = PolicyDocument::new("policy.toml", text);
    let document = document.unwrap_or_else(|problems| panic!("{problems}"));
    Guard::new(document).unwrap()
}

fn get() -> Request<Full<Bytes>> {
    Request::get("http://host.example/7")
        .body(Full::default())
        .unwrap()
}

fn status(status: u16) -> Answered {
    Ok(Response::builder()
        .status(status)
        .body(Full::from("answer"))
        .unwrap())
}

fn transport<F: Future<Output = Answered> + Send>(
    answer: impl Fn() -> F + Clone + Send,
) -> impl Service<Sent, Response = Response<Full<Bytes>>, Error = io::Error, Future: Send> + Clone {
    service_fn(move |_: Sent| answer())
}

/// Gives how many attempts ended so and how long they took together, by method, status and error, as
/// `GET 200` or `GET failed`.
fn attempts(dependency: &str) -> BTreeMap<String, (u64, f64)> {
    let snapshot = report::snapshot();
    assert_eq!(snapshot.undescribed(), <Vec<String>>::new());
    let told = snapshot
        .metrics()
        .filter(|metric| metric.name == "http_client_request_duration_seconds");
    let told = told.filter_map(|metric| {
        let label = |name: &str| {
            let found = metric.labels.iter().find(|(key, _)| *key == name);
            found.map_or("", |(_, value)| value.as_str()).to_owned()
        };
        if label("dependency") != dependency {
            return None;
        }
        let (status, error) = (label("http_response_status_code"), label("error_type"));
        let Value::Histogram(buckets) = &metric.value else {
            panic!("{metric:?} is no histogram");
        };
        let kind = format!("{} {status}{error}", label("http_request_method"));
        Some((kind, (buckets.count(), buckets.sum())))
    });
    told.collect()
}

fn expected<const N: usize>(kinds: [(&str, u64, f64); N]) -> BTreeMap<String, (u64, f64)> {
    let kinds = kinds.map(|(kind, count, seconds)| (kind.to_owned(), (count, seconds)));
    kinds.into()
}

#[tokio::test(start_paused = true)]
async fn a_retried_call_is_two_attempts_each_with_its_own_time_and_status() {
    let retries = "[retries.more]\nattempts = 2\nbudget = \"50 %\"\nfirst_wait = \"20ms\"\n";
    let guard = guard("attempts-retried", retries, "retry = \"more\"");
    let next = Arc::new(AtomicU16::new(503));
    let client = guard
        .client("attempts-retried")
        .unwrap()
        .layer(transport(move || {
            let code = next.swap(200, Ordering::Relaxed);
            async move {
                let wait = if code == 503 { 250 } else { 125 };
                clock::sleep(wait * MILLI).await;
                status(code)
            }
        }));

    let answer = client.oneshot(get()).await.unwrap();

    assert_eq!(answer.status(), 200);
    assert_eq!(
        attempts("attempts-retried"),
        expected([("GET 200", 1, 0.125), ("GET 503", 1, 0.25)])
    );
}

#[tokio::test(start_paused = true)]
async fn what_breaker_limit_or_deadline_reject_is_no_attempt() {
    let parts = "[breakers.careful]\nconsecutive = 2\nhalf_open = 1\nopen = \"5s\"\nramp = \"1ms\"\n\
                 [admissions.one]\npermits = 1\nqueue = 1\nqueue_wait = \"100ms\"\n";
    let uses = "breaker = \"careful\"\nadmission = \"one\"";
    let guard = guard("attempts-rejected", parts, uses);
    let code = Arc::new(AtomicU16::new(200));
    let answer = {
        let code = code.clone();
        move || {
            let code = code.load(Ordering::Relaxed);
            async move {
                clock::sleep(250 * MILLI).await;
                status(code)
            }
        }
    };
    let client = guard
        .client("attempts-rejected")
        .unwrap()
        .layer(transport(answer));
    let call = || client.clone().oneshot(get());

    let (a, b, c) = tokio::join!(call(), call(), call());
    assert_eq!([&a, &b, &c].iter().filter(|one| one.is_ok()).count(), 1);
    drop((a, b, c));
    let past = Context::new().with_deadline(clock::now());
    assert!(past.wrap(call()).await.is_err());
    let served = ("GET 200", 1, 0.25);
    assert_eq!(attempts("attempts-rejected"), expected([served]));

    code.store(503, Ordering::Relaxed);
    for _ in 0..2 {
        assert_eq!(call().await.unwrap().status(), 503);
    }
    for _ in 0..3 {
        let error = call().await.unwrap_err();
        assert_eq!(error.rejection().unwrap().reason(), Reason::BreakerOpen);
    }
    assert_eq!(
        attempts("attempts-rejected"),
        expected([served, ("GET 503", 2, 0.5)])
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_says_why() {
    let guard = guard("attempts-failed", "", "");
    let layer = guard.client("attempts-failed").unwrap();
    let broken = layer.layer(transport(async || {
        clock::sleep(125 * MILLI).await;
        Err(io::Error::other("reset"))
    }));
    let silent = layer.layer(transport(pending::<Answered>));
    let panics = layer.layer(transport(async || -> Answered {
        clock::sleep(250 * MILLI).await;
        panic!("attempts: in the transport")
    }));

    assert!(broken.oneshot(get()).await.is_err());
    assert!(silent.clone().oneshot(get()).await.is_err());
    let left = clock::timeout(250 * MILLI, silent.oneshot(get())).await;
    assert!(left.is_err());
    assert!(recover_async(panics.oneshot(get())).await.is_err());

    assert_eq!(
        attempts("attempts-failed"),
        expected([
            ("GET dropped", 1, 0.25),
            ("GET failed", 1, 0.125),
            ("GET panicked", 1, 0.25),
            ("GET timed_out", 1, 0.5),
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn the_attempt_that_a_hedge_beats_is_dropped() {
    let hedges = "[hedges.late]\ndelay = \"125ms\"\nbudget = \"20 %\"\n";
    let guard = guard("attempts-hedged", hedges, "hedge = \"late\"");
    let slow = Arc::new(AtomicU16::new(0));
    let answer = {
        let slow = slow.clone();
        move || {
            let wait = u32::from(slow.swap(0, Ordering::Relaxed));
            async move {
                clock::sleep(wait * MILLI).await;
                status(200)
            }
        }
    };
    let client = guard
        .client("attempts-hedged")
        .unwrap()
        .layer(transport(answer));
    for _ in 0..5 {
        client.clone().oneshot(get()).await.unwrap();
    }
    slow.store(400, Ordering::Relaxed);
    client.oneshot(get()).await.unwrap();

    assert_eq!(
        attempts("attempts-hedged"),
        expected([("GET 200", 6, 0.0), ("GET dropped", 1, 0.125)])
    );
}

#[tokio::test(start_paused = true)]
async fn whatever_methods_and_statuses_there_are_the_histograms_are_few_and_lose_nothing() {
    let guard = guard("attempts-flood", "", "");
    let code = Arc::new(AtomicU16::new(200));
    let answer = {
        let code = code.clone();
        move || {
            let code = code.load(Ordering::Relaxed);
            async move { status(code) }
        }
    };
    let client = guard
        .client("attempts-flood")
        .unwrap()
        .layer(transport(answer));
    for number in 0..10_000 {
        let mut request = get();
        *request.method_mut() = Method::from_bytes(format!("M{number}").as_bytes()).unwrap();
        client.clone().oneshot(request).await.unwrap();
    }
    let all = attempts("attempts-flood");
    assert_eq!(all, expected([("_OTHER 200", 10_000, 0.0)]));

    for number in 200..1_000 {
        code.store(number, Ordering::Relaxed);
        client.clone().oneshot(get()).await.unwrap();
    }
    let all = attempts("attempts-flood");
    assert_eq!(all.len(), 129);
    assert_eq!(all["_OTHER _OTHER"].0, 800 - 127);
    let total: u64 = all.values().map(|(count, _)| count).sum();
    assert_eq!(total, 10_800);
}
