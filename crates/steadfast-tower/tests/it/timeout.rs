use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use steadfast_core::clock::{self, Alarm};
use steadfast_core::context;
use steadfast_core::decide::timeout::TimeoutConfig;
use steadfast_core::{Cause, Outcome, WaitGroup, reaper, scope};
use steadfast_tower::timeout::TimeoutBodyError;
use steadfast_tower::{CallError, Reason, TimeoutLayer};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{get, json};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

type Answer = Result<Response<Full<Bytes>>, Infallible>;

/// Answers after as many milliseconds as the path says.
async fn slow(request: Request<Full<Bytes>>) -> Answer {
    let time: u32 = request.uri().path()[1..].parse().unwrap();
    clock::sleep(time * MS).await;
    Ok(Response::new(Full::from("answered")))
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_time_passes_and_a_late_one_is_a_504_with_the_numbers() {
    let service = TimeoutLayer::fixed("slow", 100 * MS)
        .unwrap()
        .layer(service_fn(slow));

    let passed = service.clone().oneshot(get("/99")).await.unwrap();
    let late = service.oneshot(get("/101")).await.unwrap();

    assert_eq!(
        (passed.status().as_u16(), late.status().as_u16()),
        (200, 504)
    );
    let problem = json(late).await;
    assert_eq!(problem["type"], "urn:steadfast:problem:timed-out");
    assert_eq!(problem["limit"], 0.1);
    assert_eq!(problem["policy"], "slow");
}

#[tokio::test(start_paused = true)]
async fn around_a_client_it_is_an_error_that_says_the_call_may_have_done_something() {
    let layer = TimeoutLayer::fixed("client", 100 * MS)
        .unwrap()
        .for_client();
    let service = layer.layer(service_fn(slow));

    let error = service.oneshot(get("/101")).await.unwrap_err();

    let CallError::Rejected(rejection) = error;
    assert_eq!(rejection.reason(), Reason::TimedOut);
    assert!(!rejection.reason().is_unsent());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_context_shortens_the_time_and_what_is_inside_knows_the_end() {
    let seen = Arc::new(Mutex::new(None));
    let see = seen.clone();
    let layer = TimeoutLayer::fixed("deadline", 100 * MS).unwrap();
    let service = layer.layer(service_fn(move |request| {
        *see.lock().unwrap() = context::current().time_left();
        slow(request)
    }));
    let hurried = |left| context::Context::new().with_deadline(clock::now() + left);

    let asked = hurried(30 * MS).wrap(service.clone().oneshot(get("/31")));
    assert_eq!(asked.await.unwrap().status(), 504);
    assert_eq!(*seen.lock().unwrap(), Some(30 * MS));
    let unhurried = hurried(SECOND).wrap(service.clone().oneshot(get("/1")));
    assert_eq!(unhurried.await.unwrap().status(), 200);
    assert_eq!(*seen.lock().unwrap(), Some(100 * MS));

    seen.lock().unwrap().take();
    let too_late = hurried(Duration::ZERO)
        .wrap(service.oneshot(get("/1")))
        .await
        .unwrap();
    assert_eq!(
        json(too_late).await["type"],
        "urn:steadfast:problem:deadline-passed"
    );
    assert_eq!(*seen.lock().unwrap(), None, "nothing was called");
}

#[tokio::test(start_paused = true)]
async fn scopes_inside_learn_that_it_was_the_timeout_and_clean_up() {
    let cause = Arc::new(Mutex::new(None));
    let tell = cause.clone();
    let layer = TimeoutLayer::fixed("scoped", 100 * MS).unwrap();
    let service = layer.layer(service_fn(move |_: Request<Full<Bytes>>| {
        let tell = tell.clone();
        async move {
            let ended = scope("order")
                .run(async move |s| {
                    s.defer_outcome("note", move |outcome| {
                        if let Outcome::Cancelled(cause) = outcome {
                            *tell.lock().unwrap() = Some(cause.clone());
                        }
                    });
                    std::future::pending::<Result<(), _>>().await
                })
                .await;
            drop(ended);
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }
    }));

    let response = service.oneshot(get("/")).await.unwrap();
    reaper::drain().await;

    assert_eq!(response.status(), 504);
    let cause = cause.lock().unwrap().clone().unwrap();
    assert!(
        matches!(cause, Cause::Timeout(_) | Cause::Deadline),
        "{cause:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_time_runs_while_the_inner_service_is_not_ready_and_its_permit_comes_back() {
    let inner = ConcurrencyLimit::new(service_fn(slow), 1);
    let service = TimeoutLayer::fixed("ready", 100 * MS).unwrap().layer(inner);
    let ask = async |path| {
        service
            .clone()
            .oneshot(get(path))
            .await
            .unwrap()
            .status()
            .as_u16()
    };

    // The first is cut at 100 ms, and so is the second, which has waited for it.
    assert_eq!(tokio::join!(ask("/500"), ask("/50")), (504, 504));

    assert_eq!(ask("/50").await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_learned_timeout_follows_the_service() {
    let config = TimeoutConfig::new(20 * MS, 30 * SECOND).unwrap();
    let layer = TimeoutLayer::learned("learned", config, None);
    let pace = Arc::new(Mutex::new(10));
    let of = pace.clone();
    let service = layer.layer(service_fn(move |_: Request<Full<Bytes>>| {
        let time = *of.lock().unwrap() * MS;
        async move {
            clock::sleep(time).await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }
    }));
    assert_eq!(
        layer.timeout(),
        30 * SECOND,
        "nobody is cut before anything is known"
    );
    let clients = WaitGroup::new();
    let load = async |seconds: u32| {
        for _ in 0..seconds * 100 {
            clock::sleep(10 * MS).await;
            let asked = service.clone().oneshot(get("/"));
            clients.spawn("client", async move { asked.await.unwrap().status() });
        }
    };

    load(20).await;
    let healthy = layer.timeout();
    *pace.lock().unwrap() = 80;
    load(10).await;
    let slower = layer.timeout();

    assert!(healthy >= 20 * MS && healthy < 30 * MS, "{healthy:?}");
    assert!(
        slower >= 150 * MS,
        "eight times slower, and followed: {slower:?}"
    );
}

/// Sends a frame whenever its pause is over.
struct Dripping {
    pause: Duration,
    left: u32,
    alarm: Option<Alarm>,
}

impl Body for Dripping {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let next = clock::now() + self.pause;
        let alarm = self.alarm.get_or_insert_with(|| Alarm::new(next));
        std::task::ready!(alarm.poll_over(cx));
        self.alarm = None;
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data("drop".into()))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_may_take_its_time_and_no_more() {
    let drip = async |pause, left, idle, total| {
        let layer = TimeoutLayer::fixed("body", SECOND)
            .unwrap()
            .with_body_times(idle, total);
        let service = layer.layer(service_fn(move |_: Request<Full<Bytes>>| {
            let alarm = None;
            std::future::ready(Ok::<_, Infallible>(Response::new(Dripping {
                pause,
                left,
                alarm,
            })))
        }));
        let response = service.oneshot(get("/")).await.unwrap();
        response
            .into_body()
            .collect()
            .await
            .map(|all| all.to_bytes().len())
    };
    let (idle, total) = (Some(100 * MS), Some(350 * MS));

    assert_eq!(drip(90 * MS, 9, idle, None).await.unwrap(), 36);
    let ever = Some(Duration::MAX);
    assert_eq!(drip(90 * MS, 9, ever, ever).await.unwrap(), 36);
    let silent = drip(110 * MS, 9, idle, total).await.unwrap_err();
    assert!(
        matches!(silent, TimeoutBodyError::Idle(of) if of == 100 * MS),
        "{silent}"
    );
    let long = drip(90 * MS, 9, idle, total).await.unwrap_err();
    assert!(
        matches!(long, TimeoutBodyError::Total(of) if of == 350 * MS),
        "{long}"
    );
}

#[test]
fn times_out_of_range_are_refused_with_the_bound() {
    let error = TimeoutLayer::fixed("none", Duration::ZERO).unwrap_err();

    assert_eq!(error.to_string(), "timeout 0ns is outside of 1ms to 86400s");
}
