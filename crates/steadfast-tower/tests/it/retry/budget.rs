//! How many attempts there are, and how they are told.

use std::io;
use std::task::Context;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use steadfast_core::context;
use steadfast_core::decide::budget::RetryBudget;
use steadfast_tower::retry::RetryBody;
use steadfast_tower::{TraceIdLayer, Trust};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Lines, get};

use super::{Target, counter, layer, layer_of, plenty, refused, request, rule, status};

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
