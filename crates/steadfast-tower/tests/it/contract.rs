//! What tower expects of every layer in front of handlers, and what we promise beyond it: one table
//! of layers, one list of demands.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use steadfast_core::clock;
use steadfast_core::context::{Context, Tier};
use steadfast_core::decide::admission::AdmissionConfig;
use steadfast_core::decide::policy::{
    AdmissionPolicy, Count, Policy, Route, Setting, StreamPolicy, Timeout, TimeoutPolicy,
};
use steadfast_core::decide::rate::Quota;
use steadfast_core::decide::timeout::TimeoutConfig;
use steadfast_tower::drain::{Drain, DrainLayer};
use steadfast_tower::guard::GuardLayer;
use steadfast_tower::{
    AccessLogLayer, AdmissionLayer, DeadlineLayer, Guard, RateLimitLayer, RecoverLayer, RouteLayer,
    StreamsLayer, TierLayer, TimeoutLayer, TraceIdLayer, Trust,
};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::support::{get, keeps_the_contract};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Runs `$check` with each layer that stands in front of handlers, by its name.
macro_rules! with_every_layer {
    ($check:ident) => {
        $check!("trace_id", TraceIdLayer::new(Trust::Edge));
        $check!(
            "route",
            RouteLayer::new(|request| Some(request.uri.path().into()))
        );
        $check!("recover", RecoverLayer::new());
        $check!("access_log", AccessLogLayer::new());
        $check!(
            "tier",
            TierLayer::by_route(Trust::Edge, [("/", Tier::CORE)])
        );
        $check!(
            "deadline",
            DeadlineLayer::edge(Timeout::new(60 * SECOND).unwrap())
        );
        $check!("drain", DrainLayer::new(&Drain::default()));
        $check!("rate_limit", RateLimitLayer::shared("contract", quota()));
        $check!("rate_limit of clients", of_clients());
        $check!(
            "streams",
            StreamsLayer::new("contract", Count::new(9).unwrap())
        );
        $check!("streams that it finds", streams().detecting());
        $check!("admission", admission(9));
        $check!("timeout", TimeoutLayer::fixed("contract", SECOND).unwrap());
        $check!("learned timeout", learned());
        $check!("guard", guard(false));
        $check!("guard in shadow mode", guard(true));
        $check!("guard of streams", guard_of_streams());
        $check!(
            "all by hand",
            (
                TraceIdLayer::new(Trust::Edge),
                RecoverLayer::new(),
                admission(9)
            )
        );
    };
}

fn quota() -> Quota {
    Quota::new(1_000, SECOND, 1_000).unwrap()
}

fn of_clients() -> RateLimitLayer {
    RateLimitLayer::per_client("contract", quota(), |request| {
        Some(request.uri.path().to_owned())
    })
}

fn streams() -> StreamsLayer {
    StreamsLayer::new("contract", Count::new(9).unwrap())
}

fn admission(permits: u32) -> AdmissionLayer {
    AdmissionLayer::fixed("contract", permits, AdmissionConfig::default()).unwrap()
}

fn learned() -> TimeoutLayer {
    TimeoutLayer::learned(
        "contract",
        TimeoutConfig::new(SECOND, 9 * SECOND).unwrap(),
        None,
    )
}

fn layer_of(guard: &Guard) -> GuardLayer {
    guard.layer(|request| Some(request.uri.path()))
}

/// Everything that a policy can put in front of a route.
fn guard(shadow: bool) -> GuardLayer {
    let (count, time) = (|n| Count::new(n).unwrap(), |t| Timeout::new(t).unwrap());
    let mut policy = Policy::default();
    let mut admission = AdmissionPolicy::new(Setting::Fixed(count(9)), time(SECOND));
    admission.shadow = shadow;
    policy.admissions.insert("contract".into(), admission);
    let mut timeout = TimeoutPolicy::new(Setting::Fixed(time(SECOND)));
    timeout.shadow = shadow;
    policy.timeouts.insert("contract".into(), timeout);
    for template in ["/", "/wait", "/fail", "/core", "/other"] {
        let mut route = Route::new(["GET"]);
        route.tier = if template == "/core" {
            Tier::CORE
        } else {
            Tier::DEFAULT
        };
        route.admission = Some("contract".into());
        route.timeout = Some("contract".into());
        route.deadline = Some(time(2 * SECOND));
        policy.routes.insert(template.into(), route);
    }
    layer_of(&Guard::new(policy).unwrap())
}

fn guard_of_streams() -> GuardLayer {
    let (count, time) = (|n| Count::new(n).unwrap(), |t| Timeout::new(t).unwrap());
    let mut policy = Policy::default();
    policy
        .streams
        .insert("contract".into(), StreamPolicy::new(count(9), time(SECOND)));
    for template in ["/", "/wait", "/fail", "/core", "/other"] {
        let mut route = Route::new(["GET"]);
        route.kind = steadfast_core::decide::policy::RouteKind::Stream;
        route.stream = Some("contract".into());
        policy.routes.insert(template.into(), route);
    }
    layer_of(&Guard::new(policy).unwrap())
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_or_fails_gives_its_place_back_and_errors_stay_what_they_are() {
    macro_rules! check {
        ($name:literal, $layer:expr) => {
            let layer = $layer;
            // A panic in the check names the layer.
            eprintln!("layer: {}", $name);
            keeps_the_contract(layer).await;
        };
    }
    with_every_layer!(check);
}

/// An error of the handler's own, which no layer in front may change.
#[derive(Debug, PartialEq)]
struct Own(u32);

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "own {}", self.0)
    }
}

impl std::error::Error for Own {}

async fn fails<L, B>(layer: L) -> Own
where
    L: Layer<OwnService>,
    L::Service: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Own>,
{
    let service = layer.layer(OwnService);
    match service.oneshot(get("/fail")).await {
        Err(own) => own,
        Ok(_) => panic!("it fails"),
    }
}

/// Fails with its own error.
#[derive(Clone, Copy)]
struct OwnService;

impl Service<Request<Full<Bytes>>> for OwnService {
    type Response = Response<Full<Bytes>>;
    type Error = Own;
    type Future = std::future::Ready<Result<Self::Response, Own>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Own>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        std::future::ready(Err(Own(4711)))
    }
}

#[tokio::test(start_paused = true)]
async fn the_type_of_an_error_is_the_one_of_the_handler() {
    macro_rules! check {
        ($name:literal, $layer:expr) => {
            assert_eq!(fails($layer).await, Own(4711), "{}", $name);
        };
    }
    with_every_layer!(check);
}

/// Who is served first: by an admission of one permit inside of the layer, over a service that does
/// one thing at a time.
async fn order<L, B>(layer: L) -> Vec<&'static str>
where
    L: Layer<steadfast_tower::admission::Admission<ConcurrencyLimit<Work>>>,
    L::Service: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    <L::Service as Service<Request<Full<Bytes>>>>::Future: Send,
    <L::Service as Service<Request<Full<Bytes>>>>::Error: fmt::Debug,
    B: Body<Data = Bytes> + Send,
{
    let limited = ConcurrencyLimit::new(Work, 1);
    let service = ServiceBuilder::new()
        .layer(layer)
        .service(admission(1).layer(limited));
    let served = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let clients = steadfast_core::WaitGroup::new();
    let asked = [
        ("first", Tier::DEFAULT),
        ("other", Tier::DEFAULT),
        ("core", Tier::CORE),
    ];
    for (name, tier) in asked {
        let (service, served) = (service.clone(), served.clone());
        let path = if tier == Tier::CORE {
            "/core"
        } else {
            "/other"
        };
        let client = async move {
            let response = service.oneshot(get(path)).await.unwrap();
            assert_eq!(response.status(), 200, "{name}");
            served.lock().unwrap().push(name);
        };
        clients.spawn("client", Context::new().with_tier(tier).wrap(client));
        clock::sleep(MS).await;
    }
    clients.wait().await;
    let served = served.lock().unwrap();
    served.clone()
}

/// Takes ten milliseconds.
#[derive(Clone, Copy)]
struct Work;

impl Service<Request<Full<Bytes>>> for Work {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        Box::pin(async {
            clock::sleep(10 * MS).await;
            Ok(Response::new(Full::default()))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn behind_every_layer_core_overtakes() {
    macro_rules! check {
        ("tier", $layer:expr) => {
            // It judges by itself.
            let tiers = [("/core", Tier::CORE), ("/other", Tier::DEFAULT)];
            let route = RouteLayer::new(|request| Some(request.uri.path().into()));
            let layer = (route, TierLayer::by_route(Trust::Edge, tiers));
            assert_eq!(order(layer).await, ["first", "core", "other"], "tier");
        };
        ("guard of streams", $layer:expr) => {};
        ($name:literal, $layer:expr) => {
            assert_eq!(order($layer).await, ["first", "core", "other"], "{}", $name);
        };
    }
    with_every_layer!(check);
}
