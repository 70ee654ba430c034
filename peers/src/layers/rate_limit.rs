//! Rates: with room, and where nothing is left.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, RateLimiter};
use http::{Request, Response, StatusCode};
use steadfast::decide::rate::Quota;
use steadfast::tower::RateLimitLayer;
use tower::{Layer, Service};
use tower_resilience::ratelimiter::RateLimiterLayer;

use super::service::{
    Body, CALLERS, Handler, ORDERS, calls, calls_of_two, failed, refused, served,
};
use crate::Group;
use crate::budget::Budget;

/// More than anybody can call.
const MUCH: u32 = 60_000_000;

const MINUTE: Duration = Duration::from_secs(60);

const RESILIENCE: &str = "tower-resilience rate limiter";
const GOVERNOR: &str = "governor, checked by hand";

pub(super) fn groups() -> [Group; 3] {
    let room = Group::new("layer: rate limit", "request")
        .ours(calls("steadfast RateLimitLayer", ours(MUCH), served))
        .peer(calls("no layer", Handler, served))
        .peer(calls(GOVERNOR, Checked::new(MUCH), served))
        .peer(calls(RESILIENCE, resilience(MUCH), served))
        .budget(Budget::AheadOf { peer: RESILIENCE });
    let two = Group::new("layer: rate limit, two threads", "request")
        .units_per_iteration(CALLERS)
        .ours(calls_of_two("steadfast RateLimitLayer", ours(MUCH), served))
        .peer(calls_of_two("no layer", Handler, served))
        .peer(calls_of_two(GOVERNOR, Checked::new(MUCH), served))
        .peer(calls_of_two(RESILIENCE, resilience(MUCH), served))
        .budget(Budget::AheadOf { peer: RESILIENCE });
    let none = Group::new("layer: rate limit, refused", "request")
        .ours(calls("steadfast RateLimitLayer", spent(ours(1)), refused))
        .peer(calls(GOVERNOR, spent(Checked::new(1)), refused))
        .peer(calls(RESILIENCE, spent(resilience(1)), failed))
        .budget(Budget::AheadOf { peer: RESILIENCE });
    [room, two, none]
}

/// Takes the one that there is in a minute.
fn spent<S: Service<Request<Body>> + Clone>(service: S) -> S {
    let mut first = service.clone();
    crate::work::beforehand(async {
        let _ = super::service::call(&mut first, ORDERS).await;
    });
    service
}

fn ours(
    a_minute: u32,
) -> impl Service<
    Request<Body>,
    Response = Response<
        impl http_body::Body<Data = bytes::Bytes, Error: Send> + Send + Unpin + 'static,
    >,
    Future: Send,
    Error = Infallible,
> + Clone
+ Send
+ 'static {
    let burst = a_minute.min(Quota::MAX_BURST);
    let quota = Quota::new(a_minute, MINUTE, burst).expect("the quota is in range");
    RateLimitLayer::shared("orders", quota).layer(Handler)
}

fn resilience(a_minute: u32) -> <RateLimiterLayer as Layer<Handler>>::Service {
    let layer = RateLimiterLayer::builder()
        .limit_for_period(a_minute as usize)
        .refresh_period(MINUTE)
        .timeout_duration(Duration::ZERO);
    layer
        .build()
        .expect("the limiter can be built")
        .layer(Handler)
}

/// What one writes around governor, without a layer.
#[derive(Clone)]
struct Checked(Arc<DefaultDirectRateLimiter>);

impl Checked {
    fn new(a_minute: u32) -> Self {
        let quota = governor::Quota::per_minute(NonZeroU32::new(a_minute).expect("not zero"));
        Self(Arc::new(RateLimiter::direct(quota)))
    }
}

impl Service<Request<Body>> for Checked {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if self.0.check().is_ok() {
            return Handler.call(request);
        }
        let mut refusal = Response::new(Body::default());
        *refusal.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        ready(Ok(refusal))
    }
}
