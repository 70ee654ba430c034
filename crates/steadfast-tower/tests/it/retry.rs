use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use steadfast_core::clock;
use steadfast_core::context;
use steadfast_core::decide::backoff::{Backoff, Jitter};
use steadfast_core::decide::budget::{RetryBudget, RetryRule};
use steadfast_core::report::{self, Value};
use steadfast_tower::classify::{CallEnd, Failure, StandardBoxed};
use steadfast_tower::retry::{Retry, RetryBody};
use steadfast_tower::{Reason, Rejection, RetryLayer, TraceIdLayer, Trust};
use tower::limit::ConcurrencyLimitLayer;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Lines, Panics, get};

const MILLI: Duration = Duration::from_millis(1);

fn rule(max_attempts: u8) -> RetryRule {
    RetryRule::new(max_attempts).unwrap()
}

fn plenty() -> RetryBudget {
    RetryBudget::new(1.0).unwrap().with_reserve(100).unwrap()
}

/// Waits 100 ms, 200 ms and so on.
fn layer_of(name: &'static str, rule: RetryRule, budget: RetryBudget) -> RetryLayer {
    let backoff = Backoff::new(100 * MILLI, 1_000 * MILLI).unwrap();
    RetryLayer::new(name, rule, backoff.with_jitter(Jitter::None), budget)
}

fn layer(max_attempts: u8) -> RetryLayer {
    layer_of("retry", rule(max_attempts), plenty())
}

type Answered = io::Result<Response<Full<Bytes>>>;

/// What a target has seen of an attempt.
#[derive(Debug, Clone)]
struct Seen {
    headers: HeaderMap,
    body: Result<Bytes, String>,
    trailers: Option<HeaderMap>,
    length: Option<u64>,
    after: Duration,
}

/// Reads requests to their end, and answers as it is told; with 200 once that is over.
#[derive(Clone)]
struct Target {
    answers: Arc<Mutex<VecDeque<Answered>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    begun: clock::Instant,
}

fn status(status: u16) -> Answered {
    answer(status, &[])
}

fn answer(status: u16, headers: &[(&str, &str)]) -> Answered {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Ok(response.body(Full::from("answer")).unwrap())
}

fn refused() -> Answered {
    Err(io::ErrorKind::ConnectionRefused.into())
}

fn reset() -> Answered {
    Err(io::Error::new(
        io::ErrorKind::ConnectionReset,
        "reset by the test",
    ))
}

impl Target {
    fn that_answers(answers: impl IntoIterator<Item = Answered>) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            seen: Arc::default(),
            begun: clock::now(),
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn attempts(&self) -> usize {
        self.seen().len()
    }

    fn marks(&self) -> Vec<String> {
        let mark = |seen: &Seen| match seen.headers.get("x-steadfast-attempt") {
            Some(mark) => mark.to_str().unwrap().to_owned(),
            None => "none".to_owned(),
        };
        self.seen().iter().map(mark).collect()
    }

    fn waits_ms(&self) -> Vec<u128> {
        let seen = self.seen();
        seen.iter().map(|seen| seen.after.as_millis()).collect()
    }
}

impl<B> Service<Request<B>> for Target
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display + Send,
{
    type Response = Response<Full<Bytes>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Answered> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let length = body.size_hint().exact();
            let read = body.collect().await;
            let (body, trailers) = match read {
                Ok(read) => {
                    let trailers = read.trailers().cloned();
                    (Ok(read.to_bytes()), trailers)
                }
                Err(error) => (Err(error.to_string()), None),
            };
            this.seen.lock().unwrap().push(Seen {
                headers: head.headers,
                body,
                trailers,
                length,
                after: clock::now() - this.begun,
            });
            let answer = this.answers.lock().unwrap().pop_front();
            answer.unwrap_or_else(|| status(200))
        })
    }
}

fn request(method: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri("http://target.example/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::from("body")).unwrap()
}

/// Gives the frames that it is made of, some after a pause; never says how long it will be.
struct Frames {
    frames: VecDeque<Frame<Bytes>>,
    pause: bool,
    fails: bool,
}

impl Frames {
    fn of(frames: impl IntoIterator<Item = Frame<Bytes>>) -> Self {
        Self {
            frames: frames.into_iter().collect(),
            pause: false,
            fails: false,
        }
    }

    fn of_bytes(count: usize, size: usize) -> Self {
        Self::of((0..count).map(|_| Frame::data(vec![b'x'; size].into())))
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.pause = !self.pause;
        if self.pause {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None if self.fails => Poll::Ready(Some(Err(io::Error::other("source failed")))),
            None => Poll::Ready(None),
        }
    }
}

// === what is tried again ===

#[tokio::test(start_paused = true)]
async fn a_call_is_repeated_only_if_it_is_safe_or_was_never_sent() {
    let key = [("idempotency-key", "7")];
    let unsent = answer(503, &[("x-steadfast-rejected", "overloaded")]);
    for (method, headers, first, attempts) in [
        ("GET", &[][..], status(503), 2),
        ("PUT", &[][..], status(502), 2),
        ("DELETE", &[][..], reset(), 2),
        ("POST", &[][..], status(503), 1),
        ("POST", &[][..], reset(), 1),
        ("PATCH", &[][..], status(504), 1),
        ("POST", &key[..], status(503), 2),
        ("POST", &[("idempotency-key", "")][..], status(503), 1),
        ("POST", &[][..], refused(), 2),
        ("POST", &[][..], unsent, 2),
        ("POST", &[][..], status(425), 2),
        ("GET", &[][..], status(500), 1),
        ("GET", &[][..], status(404), 1),
    ] {
        let case = format!("{method} {headers:?} {first:?}");
        let target = Target::that_answers([first]);

        let _ = layer(3)
            .layer(target.clone())
            .oneshot(request(method, headers))
            .await;

        assert_eq!(target.attempts(), attempts, "{case}");
        assert!(
            target
                .seen()
                .iter()
                .all(|seen| seen.body.as_deref() == Ok(b"body"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_safe_is_repeated_by_explicit_word() {
    let post = || request("POST", &[("x-kind", "quote")]);
    let by_rule = layer_of("retry", rule(2).with_unsafe_methods(), plenty());
    let by_call = layer(2).repeatable_if(|head| head.headers["x-kind"] == "quote");
    let by_other = layer(2).repeatable_if(|head| head.headers["x-kind"] == "order");
    for (layer, attempts) in [(by_rule, 2), (by_call, 2), (by_other, 1)] {
        let target = Target::that_answers([status(503)]);

        layer.layer(target.clone()).oneshot(post()).await.unwrap();

        assert_eq!(target.attempts(), attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_layer_inside_rejected_was_never_sent() {
    for (reason, attempts) in [(Reason::BreakerOpen, 3), (Reason::TimedOut, 1)] {
        let calls = Arc::new(AtomicU32::new(0));
        let count = calls.clone();
        let rejecting = service_fn(move |_: Request<RetryBody<Full<Bytes>>>| {
            count.fetch_add(1, Ordering::Relaxed);
            async move { Err::<Response<Full<Bytes>>, BoxError>(Rejection::new(reason, "p").into()) }
        });
        let client = layer(3).classify_by(StandardBoxed).layer(rejecting);

        let error = client.oneshot(request("POST", &[])).await.unwrap_err();

        assert_eq!(calls.load(Ordering::Relaxed), attempts, "{reason}");
        assert_eq!(error.downcast_ref::<Rejection>().unwrap().reason(), reason);
    }
}

/// Fails to become ready some times; then answers.
#[derive(Clone)]
struct Unready(Arc<AtomicU32>);

impl Service<Request<RetryBody<Full<Bytes>>>> for Unready {
    type Response = Response<Full<Bytes>>;
    type Error = io::Error;
    type Future = std::future::Ready<Answered>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let failed = self.0.fetch_add(1, Ordering::Relaxed) < 2;
        Poll::Ready(if failed {
            Err(io::Error::other("not ready"))
        } else {
            Ok(())
        })
    }

    fn call(&mut self, _: Request<RetryBody<Full<Bytes>>>) -> Self::Future {
        std::future::ready(status(200))
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_did_not_become_ready_was_sent_nothing() {
    let client = layer(3).layer(Unready(Arc::default()));

    let response = client.oneshot(request("POST", &[])).await.unwrap();

    assert_eq!(response.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_is_the_callers_unchanged() {
    let last = answer(503, &[("x-which", "last")]);
    let target = Target::that_answers([status(503), reset(), last, status(200)]);

    let response = layer(3).layer(target.clone()).oneshot(get("/")).await;

    let response = response.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["x-which"], "last");
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "answer"
    );
    assert_eq!(target.attempts(), 3, "the first one is one of the three");

    let target = Target::that_answers([status(503), reset()]);
    let error: io::Error = layer(2).layer(target).oneshot(get("/")).await.unwrap_err();
    assert_eq!(error.to_string(), "reset by the test");
}

#[tokio::test(start_paused = true)]
async fn a_classifier_that_panics_ends_the_call_and_not_the_caller() {
    let panics = Panics::of("retry-a:");
    let target = Target::that_answers([status(503)]);
    let broken = |_: Result<&http::response::Parts, &io::Error>| -> CallEnd {
        panic!("retry-a: classifier")
    };

    let client = layer(3).classify_by(broken).layer(target.clone());
    let response = client.oneshot(get("/")).await.unwrap();

    assert_eq!((response.status().as_u16(), target.attempts()), (503, 1));
    assert_eq!(panics.heard().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn hooks_that_panic_have_said_nothing() {
    let panics = Panics::of("retry-b:");
    let target = Target::that_answers([status(503)]);
    let layer = layer(3)
        .repeatable_if(|_| panic!("retry-b: repeatable"))
        .by_target(|_| -> Option<u8> { panic!("retry-b: target") });

    let response = layer
        .layer(target.clone())
        .oneshot(request("POST", &[]))
        .await;

    assert_eq!(
        (response.unwrap().status().as_u16(), target.attempts()),
        (503, 1)
    );
    assert_eq!(panics.heard().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_failure_is_can_be_said_by_a_closure() {
    let cold = |answer: Result<&http::response::Parts, &io::Error>| match answer {
        Ok(head) if head.status == 404 => CallEnd::failed(Failure::Unknown),
        Ok(head) => CallEnd::of_response(head),
        Err(error) => CallEnd::of_error(error),
    };
    let target = Target::that_answers([status(404)]);

    let client = layer(2).classify_by(cold).layer(target.clone());
    let response = client.oneshot(get("/")).await.unwrap();

    assert_eq!((response.status().as_u16(), target.attempts()), (200, 2));
}

// === the body of the request ===

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

/// Never gives a frame, and never ends.
struct Silent;

impl Body for Silent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
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

// === when ===

#[tokio::test(start_paused = true)]
async fn the_wait_is_drawn_from_the_backoff() {
    let target = Target::that_answers([status(503), status(503)]);

    layer(3)
        .layer(target.clone())
        .oneshot(get("/"))
        .await
        .unwrap();

    assert_eq!(target.waits_ms(), [0, 100, 300]);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_up_to_a_cap() {
    for (value, waits) in [
        ("2", &[0, 2_100][..]),
        ("5", &[0, 5_100]),
        ("6", &[0]),
        ("99999999999999999999", &[0]),
        ("Sun, 06 Nov 1994 12:00:02 GMT", &[0, 2_100]),
        ("Sun, 06 Nov 1994 13:00:00 GMT", &[0]),
        ("-1", &[0, 100]),
        ("soon", &[0, 100]),
        ("", &[0, 100]),
    ] {
        let date = ("date", "Sun, 06 Nov 1994 12:00:00 GMT");
        let target = Target::that_answers([answer(503, &[("retry-after", value), date])]);

        layer(2)
            .layer(target.clone())
            .oneshot(get("/"))
            .await
            .unwrap();

        assert_eq!(target.waits_ms(), waits, "{value:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_after_the_deadline_and_nobody_waits_for_one() {
    for (left_ms, headers, waits) in [
        (101, &[][..], &[0, 100][..]),
        (100, &[][..], &[0]),
        (3_000, &[("retry-after", "2")][..], &[0, 2_100]),
        (2_000, &[("retry-after", "2")][..], &[0]),
    ] {
        let target = Target::that_answers([answer(503, headers)]);
        let deadline = clock::now() + left_ms * MILLI;
        let begun = clock::now();
        let client = layer(2).layer(target.clone());

        let call = context::current().with_deadline(deadline);
        let call = call.run(|| client.oneshot(get("/")));
        context::current()
            .with_deadline(deadline)
            .wrap(call)
            .await
            .unwrap();

        assert_eq!(target.waits_ms(), waits, "{left_ms}");
        let took = clock::now() - begun;
        assert_eq!(took.as_millis(), *waits.last().unwrap(), "given up at once");
    }
}

// === how many ===

#[tokio::test(start_paused = true)]
async fn clones_of_layer_and_service_share_one_budget() {
    let budget = RetryBudget::new(0.5).unwrap().with_reserve(0).unwrap();
    let layer = layer_of("shared", rule(2), budget);
    let healthy = Target::that_answers([]);
    for _ in 0..10 {
        layer
            .clone()
            .layer(healthy.clone())
            .oneshot(get("/"))
            .await
            .unwrap();
    }

    let ill = Target::that_answers((0..40).map(|_| status(503)));
    let service = layer.layer(ill.clone());
    for _ in 0..20 {
        service.clone().oneshot(get("/")).await.unwrap();
    }

    assert_eq!(ill.attempts(), 20 + 5, "half of the ten that succeeded");
}

#[tokio::test(start_paused = true)]
async fn one_target_does_not_spend_what_another_has_earned() {
    let budget = RetryBudget::new(1.0).unwrap().with_reserve(0).unwrap();
    let layer = layer_of("targets", rule(2), budget);
    let to = |host: &str| {
        Request::get(format!("http://{host}/"))
            .body(Full::default())
            .unwrap()
    };
    let healthy = layer.layer(Target::that_answers([]));
    for host in ["a.example", "b.example"] {
        healthy.clone().oneshot(to(host)).await.unwrap();
    }

    let attempts = async |hosts: &[&str]| {
        let ill = Target::that_answers((0..9).map(|_| status(503)));
        for host in hosts {
            layer.layer(ill.clone()).oneshot(to(host)).await.unwrap();
        }
        ill.attempts() - hosts.len()
    };

    assert_eq!(
        attempts(&["a.example", "a.example", "A.example:80"]).await,
        1
    );
    assert_eq!(attempts(&["c.example"]).await, 0);
    assert_eq!(attempts(&["b.example"]).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_route_does_not_spend_what_another_has_earned() {
    let budget = RetryBudget::new(1.0).unwrap().with_reserve(0).unwrap();
    let layer = layer_of("routes", rule(2), budget).by_target(|_| None::<u8>);
    let attempts = async |route: &'static str, answers: Vec<_>| {
        let target = Target::that_answers(answers);
        let mut client = layer.layer(target.clone());
        let context = context::current().with_route(route);
        context.run(|| client.call(get("/"))).await.unwrap();
        target.attempts()
    };
    attempts("/a", vec![status(200)]).await;
    attempts("/b", vec![status(200)]).await;

    assert_eq!(attempts("/a", vec![status(503), status(503)]).await, 2);
    assert_eq!(attempts("/a", vec![status(503), status(503)]).await, 1);
    assert_eq!(attempts("/b", vec![status(503), status(503)]).await, 2);
}

#[tokio::test(start_paused = true)]
async fn layers_one_in_the_other_do_not_multiply() {
    for (method, headers) in [("GET", &[][..]), ("POST", &[("idempotency-key", "7")][..])] {
        let target = Target::that_answers((0..50).map(|_| status(503)));
        let client = ServiceBuilder::new()
            .layer(layer(3))
            .layer(layer(3))
            .layer(layer(3))
            .service(target.clone());

        client.oneshot(request(method, headers)).await.unwrap();

        assert_eq!(target.marks(), ["1/3", "2/3", "3/3"]);
    }
    // What is repeated only if unsent is not multiplied either.
    let target = Target::that_answers((0..50).map(|_| refused()));
    let client = ServiceBuilder::new()
        .layer(layer(3))
        .layer(layer(3))
        .service(target.clone());
    client.oneshot(request("POST", &[])).await.unwrap_err();
    assert_eq!(target.marks(), ["1/1", "1/1", "1/1"]);
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_off_leaves_it_to_the_one_inside() {
    let target = Target::that_answers([status(503)]);
    let client = ServiceBuilder::new()
        .layer(layer(1))
        .layer(layer(2))
        .service(target.clone());

    client.oneshot(get("/")).await.unwrap();

    assert_eq!(target.marks(), ["1/2", "2/2"]);
}

/// A service that calls another one for each request, and fails when that does.
fn service_that_calls<S>(
    client: S,
) -> impl Service<
    Request<RetryBody<Full<Bytes>>>,
    Response = Response<Full<Bytes>>,
    Error = io::Error,
    Future: Send,
> + Clone
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = io::Error>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let handler = service_fn(move |_: Request<RetryBody<Full<Bytes>>>| {
        let client = client.clone();
        async move { client.oneshot(get("/")).await }
    });
    let served = TraceIdLayer::new(Trust::Inside).layer(handler);
    served.map_response(|response| response.map(|_| Full::from("answer")))
}

#[tokio::test(start_paused = true)]
async fn services_one_behind_the_other_do_not_multiply() {
    let last = Target::that_answers((0..50).map(|_| status(503)));
    let middle = service_that_calls(layer(3).layer(last.clone()));

    layer(3).layer(middle).oneshot(get("/")).await.unwrap();

    assert_eq!(last.marks(), ["1/3", "2/3", "3/3"]);

    // The outer call cannot be repeated, so the service may repeat what it calls.
    let last = Target::that_answers([status(503), status(503)]);
    let middle = service_that_calls(layer(3).layer(last.clone()));

    let response = layer(3)
        .layer(middle)
        .oneshot(request("POST", &[]))
        .await
        .unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(last.marks(), ["1/3", "2/3", "3/3"]);
}

// === hostile answers ===

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

// === the contract of tower ===

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

// === what it tells ===

fn counter(name: &str, policy: &str, reason: Option<&str>) -> u64 {
    let snapshot = report::snapshot();
    let metric = snapshot.metrics().find(|metric| {
        let label = |key| {
            let found = metric.labels.iter().find(|(known, _)| *known == key);
            found.map(|(_, value)| value.as_str())
        };
        metric.name == name && label("policy") == Some(policy) && label("reason") == reason
    });
    match metric.map(|metric| metric.value.clone()) {
        Some(Value::Counter(value)) => value,
        other => panic!("{name} of {policy}: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_retries_is_counted_and_told_once_a_second() {
    let layer = layer_of("storm", rule(3), plenty());
    let target = Target::that_answers((0..27).map(|_| status(503)));
    let client = layer.layer(target);
    let lines = Lines::default();
    let guard = lines.listen();

    let mut calls = Vec::new();
    for _ in 0..25 {
        calls.push(Box::pin(client.clone().oneshot(get("/"))));
    }
    for call in &mut calls {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
    }
    drop(guard);
    for call in calls {
        call.await.unwrap();
    }

    let text = lines.text();
    let told: Vec<_> = text
        .lines()
        .filter(|line| line.contains("trying again"))
        .collect();
    assert_eq!(told.len(), 1, "{text}");
    assert!(
        told[0].contains("steadfast::retry") && told[0].contains("policy=storm"),
        "{text}"
    );
    assert_eq!(counter("steadfast_retry_calls_total", "storm", None), 25);
    assert_eq!(counter("steadfast_retries_total", "storm", None), 26);
    assert_eq!(counter("steadfast_retry_repaired_total", "storm", None), 24);
    assert_eq!(
        counter(
            "steadfast_retry_stops_total",
            "storm",
            Some("attempts-spent")
        ),
        1
    );
}
