//! The whole guard, and what one puts together instead.

use std::time::Duration;

use http::StatusCode;
use steadfast::context::Tier;
use steadfast::decide::policy::{
    AdmissionPolicy, Count, Policy, RatePolicy, Route, Setting, Timeout, TimeoutPolicy,
};
use steadfast::tower::Guard;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::{Layer, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::trace::TraceLayer;
use tower_resilience::bulkhead::BulkheadLayer;
use tower_resilience::ratelimiter::RateLimiterLayer;
use tower_resilience::timelimiter::TimeLimiterLayer;

use super::service::{
    CALLERS, Door, Handler, KEPT, ORDERS, calls, calls_of_two, calls_while, fill, refused, served,
};
use crate::budget::Budget;
use crate::{Contender, Group};

const TIMEOUT: Duration = Duration::from_secs(60);
const PLACES: u32 = 64;
const MUCH: u32 = 1_000_000;

const OURS: &str = "steadfast Guard";
const LEARNING: &str = "steadfast Guard, all learned";
const BARE: &str = "no layer";
const TOWER: &str = "tower and tower-http";
const SERVED: &str = "steadfast Guard, served";
const RESILIENCE: &str = "tower-resilience and tower-http";

pub(super) fn groups() -> [Group; 4] {
    let one = Group::new("chain: served", "request")
        .ours(calls(OURS, ours(), served))
        .peer(calls(BARE, Handler, served))
        .peer(calls(LEARNING, learning(), served))
        .peer(calls(TOWER, usual(), served))
        .peer(calls(RESILIENCE, resilience(), served))
        .budget(Budget::AtMostOver {
            peer: BARE,
            ns: 1000.0,
        })
        .budget(Budget::AheadOf { peer: RESILIENCE });
    let two = Group::new("chain: served, two threads", "request")
        .units_per_iteration(CALLERS)
        .ours(calls_of_two(OURS, ours(), served))
        .peer(calls_of_two(BARE, Handler, served))
        .peer(calls_of_two(TOWER, usual(), served))
        .peer(calls_of_two(RESILIENCE, resilience(), served))
        .budget(Budget::AheadOf { peer: RESILIENCE });
    let door = Door::default();
    let full = guard(policy(1, Tier::DEFAULT)).layer(door.clone());
    let kept = fill(&full, &door, 2);
    let refusing = Group::new("chain: refused for want of a place", "request")
        .ours(calls_while(OURS, kept, full, refused))
        .peer(calls(SERVED, ours(), served))
        .budget(Budget::AtMostOver {
            peer: SERVED,
            ns: 0.0,
        })
        // What a served request allocates, and the body: the text of the document, and the handle by which it is shared.
        .budget(Budget::Allocations { count: 13.0 });
    let written = Group::new("chain: served, each with a line", "request")
        .ours(lines(calls(OURS, ours(), served)))
        .peer(calls("steadfast Guard, nobody listens", ours(), served))
        .peer(lines(calls(TOWER, usual(), served)))
        .budget(Budget::AtMostOver {
            peer: "steadfast Guard, nobody listens",
            ns: 1500.0,
        });
    [one, two, refusing, written]
}

/// Lets somebody listen who formats lines, down to the level of those of tower-http, and throws them away. Only while it runs: a subscriber that is there costs
/// everybody.
fn lines(mut contender: Contender) -> Contender {
    let name = contender.name().to_owned();
    Contender::elsewhere(name, move |iterations| {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(std::io::sink)
            .finish();
        tracing::subscriber::with_default(subscriber, || contender.run(iterations))
    })
}

/// What a `layer` here makes of the handler: named by what it can do, since nobody can write
/// down what it is.
macro_rules! service {
    () => {
        impl tower::Service<
            http::Request<super::service::Body>,
            Response = http::Response<
                impl http_body::Body<Data = bytes::Bytes, Error: Send> + Send + Unpin + 'static,
            >,
            Future: Send,
            Error: Send,
        > + Clone
        + Send
        + 'static
    };
}

fn ours() -> service!() {
    guard(policy(PLACES, Tier::CORE)).layer(Handler)
}

fn learning() -> service!() {
    let mut policy = policy(PLACES, Tier::CORE);
    let admission = policy.admissions.get_mut("http").expect("it is there");
    admission.permits = Setting::Learn {
        floor: count(1),
        ceiling: count(1000),
    };
    let timeout = policy.timeouts.get_mut("quick").expect("it is there");
    timeout.timeout = Setting::Learn {
        floor: time(TIMEOUT / 1000),
        ceiling: time(TIMEOUT),
    };
    guard(policy).layer(Handler)
}

fn usual() -> service!() {
    ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(TraceLayer::new_for_http())
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::new(PLACES as usize))
        .layer(tower_http::timeout::TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            TIMEOUT,
        ))
        .layer(CatchPanicLayer::new())
        .service(Handler)
}

fn resilience() -> service!() {
    let rate = RateLimiterLayer::builder()
        .limit_for_period(100 * MUCH as usize)
        .refresh_period(Duration::from_secs(1))
        .timeout_duration(Duration::ZERO);
    let places = BulkheadLayer::builder()
        .max_concurrent_calls(PLACES as usize)
        .reject_when_full();
    ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(TraceLayer::new_for_http())
        .layer(rate.build().expect("the limiter can be built"))
        .layer(places.build().expect("the bulkhead can be built"))
        .layer(
            TimeLimiterLayer::builder()
                .timeout_duration(TIMEOUT)
                .build(),
        )
        .layer(CatchPanicLayer::new())
        .service(Handler)
}

fn guard(policy: Policy) -> steadfast::tower::guard::GuardLayer {
    let guard = Guard::new(policy).expect("the policy has no mistake");
    guard.layer(|request| Some(request.uri.path()))
}

fn policy(places: u32, tier: Tier) -> Policy {
    let mut policy = Policy::default();
    // Longer than any run: who waits is to keep waiting.
    let wait = time(TIMEOUT / 2);
    let admission = AdmissionPolicy::new(Setting::Fixed(count(places)), wait);
    let admission = AdmissionPolicy {
        queue: count(1),
        ..admission
    };
    policy.admissions.insert("http".into(), admission);
    let timeout = TimeoutPolicy::new(Setting::Fixed(time(TIMEOUT)));
    policy.timeouts.insert("quick".into(), timeout);
    let much = RatePolicy::new(count(MUCH), time(Duration::from_secs(1)), count(MUCH));
    policy.rates.insert("all".into(), much);
    // Those who keep the places are core: nobody takes theirs.
    for (path, tier) in [(ORDERS, tier), (KEPT, Tier::CORE)] {
        let mut route = Route::new(["GET"]);
        route.tier = tier;
        route.admission = Some("http".into());
        route.timeout = Some("quick".into());
        route.quota = Some("all".into());
        policy.routes.insert(path.into(), route);
    }
    policy
}

fn count(number: u32) -> Count {
    Count::new(number).expect("the number is in range")
}

fn time(time: Duration) -> Timeout {
    Timeout::new(time).expect("the time is in range")
}
