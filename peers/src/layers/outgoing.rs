//! All that stands around an outgoing call, and what one puts together instead.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use steadfast::tower::{Guard, PolicyDocument};
use tower::Layer;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::{Service, ServiceBuilder};
use tower_resilience::bulkhead::BulkheadLayer;
use tower_resilience::circuitbreaker::CircuitBreakerLayer;
use tower_resilience::retry::{RetryBudgetBuilder, RetryLayer};
use tower_resilience::timelimiter::TimeLimiterLayer;

use super::service::{
    Body, CALLERS, Handler, ORDERS, Unavailable, call, calls, calls_of_two, failed, served,
};
use crate::Group;
use crate::budget::Budget;
use crate::work::beforehand;

const OURS: &str = "steadfast Guard::client";
const BARE: &str = "no layer";
const TOWER: &str = "tower: timeout and limit, no retry, no breaker";
const RESILIENCE: &str = "tower-resilience: retry, breaker, bulkhead, timeout";

const POLICY: &str = r#"
    [timeouts.call]
    timeout = "60s"

    [admissions.stock]
    permits = 64
    queue_wait = "10ms"

    [breakers.stock]
    consecutive = 20
    failure_share = "50 %"
    open = "300s"
    open_longest = "300s"

    [retries.stock]
    attempts = 3
    budget = "10 %"

    [dependencies.stock]
    methods = ["GET"]
    timeout = "call"
    admission = "stock"
    breaker = "stock"
    retry = "stock"
"#;

/// A client that cannot be written down as a type.
macro_rules! client {
    ($transport:expr) => {
        guard()
            .client("stock")
            .expect("the policy has it")
            .layer($transport)
    };
}
pub(super) fn groups() -> [Group; 3] {
    let one = Group::new("chain: outgoing", "call")
        .ours(calls(OURS, client!(Handler), served))
        .peer(calls(BARE, Handler, served))
        .peer(calls(TOWER, usual(), served))
        .peer(calls(RESILIENCE, resilience(), served))
        .budget(Budget::AtMostOver {
            peer: BARE,
            ns: 1000.0,
        })
        .budget(Budget::AheadOf { peer: RESILIENCE });
    let two = Group::new("chain: outgoing, two threads", "call")
        .units_per_iteration(CALLERS)
        .ours(calls_of_two(OURS, client!(Handler), served))
        .peer(calls_of_two(BARE, Handler, served))
        .peer(calls_of_two(TOWER, usual(), served))
        .peer(calls_of_two(RESILIENCE, resilience(), served))
        .budget(Budget::AheadOf { peer: RESILIENCE });
    const SERVED: &str = "steadfast Guard::client, served";
    let tripped = Group::new("chain: outgoing, tripped", "call")
        .ours(calls(OURS, tripped(client!(Unavailable)), failed))
        .peer(calls(SERVED, client!(Handler), served))
        .budget(Budget::AtMostOver {
            peer: SERVED,
            ns: 0.0,
        });
    [one, two, tripped]
}

fn guard() -> Guard {
    let policy = PolicyDocument::new("policy.toml", POLICY).expect("the policy has no mistake");
    Guard::new(policy.policy().clone()).expect("the policy has no mistake")
}

fn usual() -> impl Service<Request<Body>, Response = Response<Body>, Future: Send, Error: Send>
+ Clone
+ Send
+ 'static {
    ServiceBuilder::new()
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::new(64))
        .layer(tower::timeout::TimeoutLayer::new(Duration::from_secs(60)))
        .service(Handler)
}

fn resilience() -> impl Service<Request<Body>, Response = Response<Body>, Future: Send, Error: Send>
+ Clone
+ Send
+ 'static {
    let budget = RetryBudgetBuilder::new().token_bucket().build();
    let retry = RetryLayer::builder()
        .max_attempts(3)
        .exponential_backoff(Duration::from_millis(10))
        .budget(budget.expect("the budget can be built"))
        .build();
    let breaker = CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(100);
    let places = BulkheadLayer::builder()
        .max_concurrent_calls(64)
        .reject_when_full();
    let timeout = TimeLimiterLayer::builder().timeout_duration(Duration::from_secs(60));
    ServiceBuilder::new()
        .layer(retry)
        .layer(breaker.build().expect("the breaker can be built"))
        .layer(places.build().expect("the bulkhead can be built"))
        .layer(timeout.build())
        .service(Handler)
}

/// Calls until the breaker has had enough.
fn tripped<S, B>(client: S) -> S
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    B: http_body::Body<Data = Bytes>,
{
    let mut caller = client.clone();
    beforehand(async { while call(&mut caller, ORDERS).await.is_ok() {} });
    client
}
