mod again;
mod body;
mod budget;
mod given_up;
mod wait;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use steadfast_core::clock;
use steadfast_core::decide::backoff::{Backoff, Jitter};
use steadfast_core::decide::budget::{RetryBudget, RetryRule};
use steadfast_core::report::{self, Value};
use steadfast_tower::RetryLayer;
use tower::Service;

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
