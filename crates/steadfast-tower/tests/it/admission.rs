use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use steadfast_core::context::{Context, Tier};
use steadfast_core::decide::admission::AdmissionConfig;
use steadfast_core::decide::limit::LimitConfig;
use steadfast_core::report::{self, Value};
use steadfast_core::{WaitGroup, clock, rng, spawn};
use steadfast_tower::admission::AdmissionBody;
use steadfast_tower::{AdmissionLayer, AnswerBody};
use tower::limit::ConcurrencyLimit;
use tower::util::BoxCloneService;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{get, json};

const MS: Duration = Duration::from_millis(1);

type Limited = BoxCloneService<
    Request<Full<Bytes>>,
    Response<AdmissionBody<AnswerBody<Full<Bytes>>>>,
    Infallible,
>;
type Guarded = BoxCloneService<Request<Full<Bytes>>, Response<Bytes>, Infallible>;

/// A service behind an admission, which notes whom it serves, for as long as the path says in
/// milliseconds. The answers are read to their end.
fn guarded(admission: &AdmissionLayer, served: &Arc<Mutex<Vec<u8>>>) -> Guarded {
    let served = served.clone();
    let inner = service_fn(move |request: Request<Full<Bytes>>| {
        let served = served.clone();
        async move {
            let tier = steadfast_core::context::current().tier().number();
            served.lock().unwrap().push(tier);
            let time: u32 = request.uri().path()[1..].parse().unwrap();
            clock::sleep(time * MS).await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("served")))
        }
    });
    // One permit of tower's own inside: what it makes wait must not hide anybody from the queue.
    let guarded = admission.layer(ConcurrencyLimit::new(inner, 1));
    BoxCloneService::new(guarded.and_then(async |response: Response<_>| {
        let (parts, body) = response.into_parts();
        let body = BodyExt::collect(body).await.unwrap().to_bytes();
        Ok(Response::from_parts(parts, body))
    }))
}

fn config(waiting_max: u32) -> AdmissionConfig {
    AdmissionConfig {
        waiting_max,
        ..AdmissionConfig::default()
    }
}

fn of_tier(number: u8) -> Context {
    Context::new().with_tier(Tier::new(number).unwrap())
}

fn gauge(policy: &str, name: &str) -> f64 {
    let snapshot = report::snapshot();
    let metric = snapshot.metrics().find(|metric| {
        let of_policy = metric
            .labels
            .iter()
            .any(|(_, value)| value.as_str() == policy);
        metric.name == name && of_policy
    });
    match metric.unwrap().value {
        Value::Gauge(value) => value,
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn core_overtakes_what_waits_and_displaces_it_when_the_queue_is_full() {
    let admission = AdmissionLayer::fixed("displace", 1, config(2)).unwrap();
    let served = Arc::default();
    let service = guarded(&admission, &served);
    let ask = |tier, after: u32| {
        let service = service.clone();
        spawn("client", async move {
            clock::sleep(after * MS).await;
            of_tier(tier)
                .wrap(service.oneshot(get("/10")))
                .await
                .unwrap()
                .status()
        })
    };

    let first = ask(3, 0);
    let waits = ask(3, 1);
    let displaced = ask(3, 2);
    let core = ask(0, 3);

    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(waits.await.unwrap(), 200);
    assert_eq!(displaced.await.unwrap(), 503);
    assert_eq!(core.await.unwrap(), 200);
    assert_eq!(*served.lock().unwrap(), [3, 0, 3]);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_rejected_is_told_why() {
    let admission = AdmissionLayer::fixed("told", 1, config(1)).unwrap();
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        clock::sleep(Duration::from_secs(30)).await;
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = admission.layer(inner);
    let ask = async || json(service.clone().oneshot(get("/")).await.unwrap()).await;
    let serving = spawn("served", service.clone().oneshot(get("/")));
    clock::sleep(MS).await;

    let (waited, full) = tokio::join!(ask(), ask());

    assert_eq!(full["type"], "urn:steadfast:problem:overloaded");
    assert_eq!(
        (&full["limit"], &full["unit"]),
        (&1.into(), &"waiting".into())
    );
    assert!(full["retry_after"].as_f64().unwrap() >= 0.0);
    assert_eq!(waited["type"], "urn:steadfast:problem:waited-too-long");
    assert_eq!(waited["limit"], 1);
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_deadline_is_too_near_does_not_wait() {
    let admission = AdmissionLayer::fixed("hurried", 1, config(10)).unwrap();
    let served = Arc::default();
    let service = guarded(&admission, &served);
    // Teaches how long a request takes.
    service.clone().oneshot(get("/100")).await.unwrap();
    let serving = spawn("served", service.clone().oneshot(get("/100")));
    clock::sleep(MS).await;

    let began = clock::now();
    let hurried = Context::new().with_deadline(began + 50 * MS);
    let response = hurried.wrap(service.oneshot(get("/1"))).await.unwrap();

    assert_eq!(response.status(), 503);
    assert!(
        clock::now() - began < 50 * MS,
        "told in time to do something else"
    );
    let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(problem["type"], "urn:steadfast:problem:cannot-finish");
    assert_eq!(problem["limit"], 0.05, "what was left");
    let needs = problem["observed"].as_f64().unwrap();
    assert!(
        (0.1..0.2).contains(&needs),
        "what it would have taken: {needs}"
    );
    serving.await.unwrap().unwrap();
    assert_eq!(served.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_has_waited_for_too_long_is_told_so_however_far_its_deadline_is() {
    let admission = AdmissionLayer::fixed("patient", 1, config(10)).unwrap();
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        clock::sleep(Duration::from_secs(30)).await;
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = admission.layer(inner);
    let serving = spawn("served", service.clone().oneshot(get("/")));
    clock::sleep(MS).await;

    let patient = Context::new().with_deadline(clock::now() + Duration::from_secs(60));
    let response = patient.wrap(service.oneshot(get("/"))).await.unwrap();

    let problem = json(response).await;
    assert_eq!(problem["type"], "urn:steadfast:problem:waited-too-long");
    assert_eq!(
        (&problem["limit"], &problem["observed"]),
        (&1.into(), &1.into())
    );
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn a_permit_comes_back_with_the_body_the_future_or_an_error() {
    let admission = AdmissionLayer::fixed("returned", 1, config(10)).unwrap();
    let inner = service_fn(
        async |request: Request<Full<Bytes>>| match request.uri().path() {
            "/never" => std::future::pending().await,
            "/error" => Err("broken"),
            _ => Ok(Response::new(Full::<Bytes>::from("abc"))),
        },
    );
    let service = admission.layer(inner);
    let in_flight = || gauge("returned", "steadfast_admission_in_flight");

    // The body: held, then dropped unread, then read to its end and kept.
    let response = service.clone().oneshot(get("/")).await.unwrap();
    assert_eq!(in_flight(), 1.0);
    drop(response);
    assert_eq!(in_flight(), 0.0);
    let mut body = service.clone().oneshot(get("/")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(in_flight(), 0.0);
    drop(body);

    // The future, waiting and served.
    let mut served = Box::pin(service.clone().oneshot(get("/never")));
    let mut waiting = Box::pin(service.clone().oneshot(get("/")));
    assert!(clock::timeout(MS, &mut served).await.is_err());
    assert!(clock::timeout(MS, &mut waiting).await.is_err());
    assert_eq!(in_flight(), 1.0);
    drop(waiting);
    drop(served);
    assert_eq!(in_flight(), 0.0);

    // An error, whose type stays.
    let error: &str = service.clone().oneshot(get("/error")).await.unwrap_err();
    assert_eq!(error, "broken");
    assert_eq!(in_flight(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn routes_and_clones_share_one_limit() {
    let admission = AdmissionLayer::fixed("shared", 2, config(1)).unwrap();
    let route = || {
        admission.layer(service_fn(async |_: Request<Full<Bytes>>| {
            clock::sleep(10 * MS).await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }))
    };
    let (orders, search) = (route(), route());
    let ask = async |service: Limited| service.oneshot(get("/")).await.unwrap().status();
    let boxed = BoxCloneService::new;

    let answers = tokio::join!(
        ask(boxed(orders.clone())),
        ask(boxed(search.clone())),
        ask(boxed(orders)),
        ask(boxed(search)),
    );

    let ok = StatusCode::OK;
    assert_eq!((answers.0, answers.1, answers.2), (ok, ok, ok));
    assert_eq!(answers.3, 503, "two at a time, one waits, and no more");
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_finds_itself_comes_down_under_pressure() {
    let limit = LimitConfig {
        initial: 100,
        ..LimitConfig::queued()
    };
    let admission = AdmissionLayer::adaptive("adaptive", limit, config(1_000)).unwrap();
    // Ten at a time, 10 ms each, the rest waits inside.
    let permits = Arc::new(tokio::sync::Semaphore::new(10));
    let service = admission.layer(service_fn(move |_: Request<Full<Bytes>>| {
        let permits = permits.clone();
        async move {
            let _permit = permits.acquire().await.unwrap();
            clock::sleep(10 * MS).await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }
    }));
    let clients = WaitGroup::new();
    let load = async |at_once: u32, seconds: u32| {
        let until = clock::now() + Duration::from_secs(1) * seconds;
        while clock::now() < until {
            clock::sleep(5 * MS).await;
            for _ in 0..at_once {
                let asked = service.clone().oneshot(get("/"));
                clients.spawn("client", async move { asked.await.unwrap().status() });
            }
        }
    };

    load(2, 4).await;
    let easy = gauge("adaptive", "steadfast_admission_limit");
    load(30, 8).await;
    let pressed = gauge("adaptive", "steadfast_admission_limit");

    assert!(easy >= 90.0, "nothing presses: {easy}");
    assert!(
        (8.0..30.0).contains(&pressed),
        "what serves ten at a time: {pressed}"
    );
    clients.wait().await;
    assert_eq!(gauge("adaptive", "steadfast_admission_in_flight"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_permit_is_lost_when_clients_leave_at_any_moment() {
    let admission = AdmissionLayer::fixed("leaving", 3, config(8)).unwrap();
    let service = admission.layer(service_fn(async |_: Request<Full<Bytes>>| {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    let clients = WaitGroup::new();
    for _ in 0..8 {
        let service = service.clone();
        clients.spawn("client", async move {
            for _ in 0..2_000 {
                let tier = (rng::bits() % 4) as u8;
                let patience = rng::bits() % 8;
                let asked = of_tier(tier).wrap(service.clone().oneshot(get("/")));
                let mut leaves = 0;
                let patient = std::future::poll_fn(|cx| {
                    leaves += 1;
                    cx.waker().wake_by_ref();
                    match leaves > patience {
                        true => std::task::Poll::Ready(()),
                        false => std::task::Poll::Pending,
                    }
                });
                tokio::select! {
                    answer = asked => drop(answer.unwrap()),
                    () = patient => {}
                }
            }
        });
    }

    assert_eq!(clients.wait().await.done, 8);

    assert_eq!(gauge("leaving", "steadfast_admission_in_flight"), 0.0);
    assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 200);
}
