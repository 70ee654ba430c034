use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use steadfast_core::decide::breaker::{BreakerConfig, Override};
use steadfast_core::decide::hedge::Hedge;
use steadfast_core::report::Value;
use steadfast_core::{Context, cancel, clock};
use steadfast_tower::hedge::HedgeBody;
use steadfast_tower::policy::Signed;
use steadfast_tower::{BreakerLayer, HedgeLayer};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::support::{keeps_the_contract, poll_once, reported};

const MILLI: Duration = Duration::from_millis(1);

/// What an attempt does.
#[derive(Debug, Clone, Copy)]
enum Does {
    Answer(u16, u64),
    Hang,
}

/// Reads requests, and answers as it is told; at once with 200 once that is over.
#[derive(Clone, Default)]
struct Target {
    does: Arc<Mutex<VecDeque<Does>>>,
    bodies: Arc<Mutex<Vec<Bytes>>>,
    dropped: Arc<Mutex<Vec<Option<String>>>>,
}

impl Target {
    fn will(&self, does: impl IntoIterator<Item = Does>) {
        self.does.lock().unwrap().extend(does);
    }

    fn bodies(&self) -> Vec<Bytes> {
        self.bodies.lock().unwrap().clone()
    }

    /// Why attempts were dropped before their end.
    fn dropped(&self) -> Vec<Option<String>> {
        self.dropped.lock().unwrap().clone()
    }
}

/// Notes why it is dropped, unless it has ended.
struct Attempt {
    dropped: Arc<Mutex<Vec<Option<String>>>>,
    ended: bool,
}

impl Attempt {
    fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            let cause = cancel::told_cause().map(|cause| cause.to_string());
            self.dropped.lock().unwrap().push(cause);
        }
    }
}

impl<B> Service<Request<B>> for Target
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Debug + Send,
{
    type Response = Response<Full<Bytes>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Response<Full<Bytes>>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        let does = this.does.lock().unwrap().pop_front();
        let attempt = Attempt {
            dropped: this.dropped.clone(),
            ended: false,
        };
        Box::pin(async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            this.bodies.lock().unwrap().push(body);
            let answer = match does.unwrap_or(Does::Answer(200, 0)) {
                Does::Hang => std::future::pending().await,
                Does::Answer(status, after) => {
                    clock::sleep(u32::try_from(after).unwrap() * MILLI).await;
                    Response::builder()
                        .status(status)
                        .body(Full::from(after.to_string()))
                        .unwrap()
                }
            };
            attempt.end();
            Ok(answer)
        })
    }
}

/// Hedges a fifth of the calls after 50 ms.
fn layer(name: &'static str) -> HedgeLayer {
    HedgeLayer::new(name, Hedge::fixed(0.2, 50 * MILLI).unwrap())
}

fn request(method: &str) -> Request<Full<Bytes>> {
    let request = Request::builder()
        .method(method)
        .uri("http://stock.example/");
    request.body(Full::from("body")).unwrap()
}

/// Pays for as many hedges.
async fn earn<S>(client: &S, hedges: usize)
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = io::Error> + Clone,
{
    for _ in 0..hedges * 5 {
        client.clone().oneshot(request("GET")).await.unwrap();
    }
}

async fn text(response: Response<Full<Bytes>>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_long_is_sent_again_and_the_first_answer_wins() {
    let target = Target::default();
    let client = layer("hedge-a").layer(target.clone());
    earn(&client, 1).await;
    target.will([Does::Hang, Does::Answer(200, 7)]);
    let begun = clock::now();

    let response = client.clone().oneshot(request("PUT")).await.unwrap();

    assert_eq!(text(response).await, "7");
    let took = clock::now() - begun;
    assert!((57 * MILLI..60 * MILLI).contains(&took), "{took:?}");
    assert_eq!(
        target.bodies()[5..],
        ["body", "body"],
        "each sends all of it"
    );
    let lost = Some("requested: hedge".to_owned());
    assert_eq!(
        target.dropped(),
        [lost],
        "the one that lost knows why it ends"
    );
    for name in ["steadfast_hedges_total", "steadfast_hedges_won_total"] {
        let told = reported(name, &[("policy", "hedge-a")]);
        assert_eq!(told, Some(Value::Counter(1)), "{name}");
    }
    let delay = reported("steadfast_hedge_delay_seconds", &[("policy", "hedge-a")]);
    assert_eq!(delay, Some(Value::Gauge(0.05)));
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_may_still_win() {
    let target = Target::default();
    let client = layer("hedge-b").layer(target.clone());
    earn(&client, 1).await;
    target.will([Does::Answer(200, 60), Does::Hang]);

    let response = client.clone().oneshot(request("GET")).await.unwrap();

    assert_eq!(text(response).await, "60");
    assert_eq!(target.dropped().len(), 1);
    let won = reported("steadfast_hedges_won_total", &[("policy", "hedge-b")]);
    assert_eq!(won, Some(Value::Counter(0)));
}

#[tokio::test(start_paused = true)]
async fn a_failure_waits_for_the_other_attempt_and_of_two_the_first_is_told() {
    let target = Target::default();
    let client = layer("hedge-c").layer(target.clone());
    earn(&client, 3).await;
    let status_of = async |does: [Does; 2]| {
        target.will(does);
        let response = client.clone().oneshot(request("GET")).await.unwrap();
        response.status().as_u16()
    };

    assert_eq!(
        status_of([Does::Answer(503, 60), Does::Answer(200, 90)]).await,
        200
    );
    assert_eq!(
        status_of([Does::Answer(200, 90), Does::Answer(503, 1)]).await,
        200
    );
    assert_eq!(
        status_of([Does::Answer(502, 60), Does::Answer(503, 90)]).await,
        502
    );
    assert_eq!(target.dropped(), [], "all have ended by themselves");
    target.will([Does::Answer(500, 10)]);
    let failed = client.clone().oneshot(request("GET")).await.unwrap();
    assert_eq!(failed.status(), 500, "what fails early is for retries");
}

#[tokio::test(start_paused = true)]
async fn only_calls_that_are_safe_to_repeat_are_sent_twice() {
    let target = Target::default();
    let client = layer("hedge-d").layer(target.clone());
    earn(&client, 2).await;

    target.will([Does::Answer(200, 500)]);
    client.clone().oneshot(request("POST")).await.unwrap();
    assert_eq!(target.bodies().len(), 11, "an order is placed once");

    target.will([Does::Answer(200, 500), Does::Answer(200, 0)]);
    let mut keyed = request("POST");
    keyed
        .headers_mut()
        .insert("idempotency-key", "7".parse().unwrap());
    client.oneshot(keyed).await.unwrap();
    assert_eq!(target.bodies().len(), 13);
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_a_deadline_or_a_whole_body_there_is_no_second_attempt() {
    let target = Target::default();
    let client = layer("hedge-e").layer(target.clone());
    let stops = |reason| {
        let labels = [("policy", "hedge-e"), ("reason", reason)];
        reported("steadfast_hedge_stops_total", &labels)
    };

    target.will([Does::Answer(200, 200)]);
    client.clone().oneshot(request("GET")).await.unwrap();
    assert_eq!(stops("budget-spent"), Some(Value::Counter(1)), "no reserve");

    earn(&client, 2).await;
    target.will([Does::Answer(200, 200)]);
    let soon = Context::new().with_deadline(clock::now() + 40 * MILLI);
    let call = client.clone().oneshot(request("GET"));
    soon.wrap(call).await.unwrap();
    assert_eq!(stops("deadline"), Some(Value::Counter(1)));

    target.will([Does::Answer(200, 200)]);
    let long = Full::from(vec![b'x'; 64 * 1024 + 1]);
    let request = Request::put("http://stock.example/").body(long).unwrap();
    client.clone().oneshot(request).await.unwrap();
    assert_eq!(stops("body"), Some(Value::Counter(1)));
    assert_eq!(target.bodies().last().unwrap().len(), 64 * 1024 + 1);
    assert_eq!(target.bodies().len(), 13);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_hedged_while_the_breaker_is_not_closed() {
    let config = BreakerConfig::new().with_consecutive(2).unwrap();
    let breaker = BreakerLayer::new("hedge-f", config).unwrap();
    let breakers = breaker.breakers();
    let target = Target::default();
    let client = layer("hedge-f").consulting(&breakers).layer(target.clone());
    // The breaker knows an endpoint once it is called.
    let known = breaker.layer(target.clone());
    known.oneshot(request("GET")).await.unwrap();
    earn(&client, 1).await;
    let calls = target.bodies().len();
    target.will([Does::Answer(200, 200)]);

    let signed = Signed::new("ann", "INC-7").unwrap();
    breakers.force(Override::Open, 60 * MILLI, signed).unwrap();
    client.clone().oneshot(request("GET")).await.unwrap();
    assert_eq!(target.bodies().len(), calls + 1);

    target.will([Does::Hang]);
    client.oneshot(request("GET")).await.unwrap();
    assert_eq!(target.bodies().len(), calls + 3, "it is closed again");
}

#[tokio::test(start_paused = true)]
async fn a_delay_that_is_learned_comes_after_a_hundred_calls() {
    let target = Target::default();
    let hedge = Hedge::learned(0.05, MILLI, 1_000 * MILLI).unwrap();
    let client = HedgeLayer::new("hedge-g", hedge).layer(target.clone());
    for _ in 0..200 {
        target.will([Does::Answer(200, 10)]);
        client.clone().oneshot(request("GET")).await.unwrap();
    }
    let calls = target.bodies().len();
    target.will([Does::Hang]);
    let begun = clock::now();

    client.oneshot(request("GET")).await.unwrap();

    assert_eq!(target.bodies().len(), calls + 2);
    let took = clock::now() - begun;
    assert!((10 * MILLI..20 * MILLI).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_ends_both_attempts() {
    let target = Target::default();
    let client = layer("hedge-h").layer(target.clone());
    earn(&client, 1).await;
    target.will([Does::Hang, Does::Hang]);
    let mut call = Box::pin(client.oneshot(request("GET")));
    assert!(poll_once(call.as_mut()).await.is_none());
    clock::sleep(60 * MILLI).await;
    assert!(poll_once(call.as_mut()).await.is_none());

    drop(call);

    assert_eq!(target.dropped(), [None, None]);
}

#[tokio::test]
async fn it_keeps_the_contract_of_tower() {
    let plain = |request: Request<HedgeBody<Full<Bytes>>>| request.map(|_| Full::default());
    keeps_the_contract(
        ServiceBuilder::new()
            .layer(layer("hedge-i"))
            .map_request(plain),
    )
    .await;
}
