//! Breakers: closed, as on nearly all days, and open.

use std::future::{Ready, ready};
use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use failsafe::CircuitBreaker as _;
use http::{Request, Response, StatusCode};
use recloser::Recloser;
use steadfast::clock;
use steadfast::decide::breaker::{Breaker, BreakerConfig, CallEnd};
use steadfast::tower::BreakerLayer;
use tower::{Layer, Service};
use tower_resilience::circuitbreaker::CircuitBreakerLayer;

use super::service::{
    Body, CALLERS, Handler, ORDERS, call, calls, calls_of_two, failed, refused, served,
};
use crate::budget::Budget;
use crate::work::{beforehand, on_one_thread, on_two_threads};
use crate::{Contender, Group};

/// Longer than any run.
const OPEN: Duration = Duration::from_secs(300);

/// Failures in a row that trip each of them.
const FAILURES: u32 = 5;

const OURS: &str = "steadfast BreakerLayer";
const BARE: &str = "no layer";
const RESILIENCE: &str = "tower-resilience circuit breaker";
const RECLOSER: &str = "recloser, around the call";
const FAILSAFE: &str = "failsafe, around the call";

pub(super) fn groups() -> [Group; 5] {
    let one = Group::new("layer: breaker, closed", "call")
        .ours(calls(OURS, ours().layer(Handler), served))
        .peer(calls(BARE, Handler, served))
        .peer(calls(RESILIENCE, resilience().layer(Handler), served))
        .peer(calls(RECLOSER, By::new(reclose(), Handler), served))
        .peer(calls(FAILSAFE, By::new(fail_safe(), Handler), served))
        .budget(Budget::AheadOf { peer: RESILIENCE });
    let two = Group::new("layer: breaker, closed, two threads", "call")
        .units_per_iteration(CALLERS)
        .ours(calls_of_two(OURS, ours().layer(Handler), served))
        .peer(calls_of_two(BARE, Handler, served))
        .peer(calls_of_two(
            RESILIENCE,
            resilience().layer(Handler),
            served,
        ))
        .peer(calls_of_two(RECLOSER, By::new(reclose(), Handler), served))
        .peer(calls_of_two(
            FAILSAFE,
            By::new(fail_safe(), Handler),
            served,
        ))
        .budget(Budget::AheadOf { peer: RESILIENCE });
    let open = Group::new("layer: breaker, tripped", "call")
        .ours(calls(OURS, tripped(ours().layer(Broken)), failed))
        .peer(calls(
            "steadfast BreakerLayer, closed",
            ours().layer(Handler),
            served,
        ))
        .peer(calls(
            RESILIENCE,
            tripped(resilience().layer(Broken)),
            failed,
        ))
        .peer(calls(
            RECLOSER,
            tripped(By::new(reclose(), Broken)),
            refused,
        ))
        .peer(calls(
            FAILSAFE,
            tripped(By::new(fail_safe(), Broken)),
            refused,
        ))
        .budget(Budget::AheadOf { peer: RESILIENCE });
    [decision(), decision_of_two(), one, two, open]
}

/// The decision without a service around it: asked, and told how it ended.
fn decision() -> Group {
    let of = |name, breaker: Arc<dyn Decides>| {
        on_one_thread(name, move |count| {
            let breaker = breaker.clone();
            async move { breaker.decide(count) }
        })
    };
    Group::new("decision: breaker", "call")
        .ours(of("steadfast decide::breaker", breaker()))
        .peer(of("recloser", Arc::new(reclose())))
        .peer(of("failsafe", Arc::new(fail_safe())))
        .budget(Budget::AheadOf { peer: "recloser" })
}

fn decision_of_two() -> Group {
    let of = |name, breaker: Arc<dyn Decides>| -> Contender {
        on_two_threads(name, move |count| {
            let breaker = breaker.clone();
            async move { breaker.decide(count) }
        })
    };
    Group::new("decision: breaker, two threads", "call")
        .units_per_iteration(CALLERS)
        .ours(of("steadfast decide::breaker", breaker()))
        .peer(of("recloser", Arc::new(reclose())))
        .peer(of("failsafe", Arc::new(fail_safe())))
        .budget(Budget::AtMost { ns: 60.0 })
        .budget(Budget::AheadOf { peer: "recloser" })
}

/// Asks and tells so often, and counts what passed.
trait Decides: Send + Sync {
    fn decide(&self, count: u64) -> u64;
}

impl Decides for Breaker {
    fn decide(&self, count: u64) -> u64 {
        let end = CallEnd::succeeded(Duration::from_millis(5));
        // The layers read the clock once for all of a request.
        let now = clock::nanos();
        let passed = (0..count).filter(|_| {
            let permit = black_box(self).ask(now).verdict.ok();
            permit.is_some_and(|permit| self.record(permit, end, now).is_none())
        });
        passed.count() as u64
    }
}

impl Decides for Recloser {
    fn decide(&self, count: u64) -> u64 {
        let passed = (0..count).filter(|_| black_box(self).call(|| Ok::<_, ()>(())).is_ok());
        passed.count() as u64
    }
}

impl<P: failsafe::FailurePolicy + Send + Sync> Decides for FailSafe<P> {
    fn decide(&self, count: u64) -> u64 {
        let passed = (0..count).filter(|_| black_box(self).0.call(|| Ok::<_, ()>(())).is_ok());
        passed.count() as u64
    }
}

fn config() -> BreakerConfig {
    BreakerConfig::new()
        .with_consecutive(FAILURES)
        .and_then(|config| config.with_failure_share(0.5))
        .and_then(|config| config.with_open_time(OPEN, OPEN))
        .expect("the config is in range")
}

fn breaker() -> Arc<dyn Decides> {
    Arc::new(Breaker::new(config(), 1).expect("it has a reason to trip"))
}

fn ours() -> BreakerLayer {
    BreakerLayer::new("stock", config()).expect("it has a reason to trip")
}

fn resilience() -> CircuitBreakerLayer {
    CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(100)
        .minimum_number_of_calls(FAILURES as usize)
        .wait_duration_in_open(OPEN)
        .build()
        .expect("the breaker can be built")
}

fn reclose() -> Recloser {
    Recloser::custom()
        .error_rate(0.5)
        .closed_len(FAILURES as usize)
        .open_wait(OPEN)
        .build()
}

/// A breaker of failsafe.
struct FailSafe<P: failsafe::FailurePolicy>(failsafe::StateMachine<P, ()>);

fn fail_safe() -> FailSafe<impl failsafe::FailurePolicy + Send + Sync + 'static> {
    let wait = failsafe::backoff::constant(OPEN);
    let policy = failsafe::failure_policy::consecutive_failures(FAILURES, wait);
    FailSafe(failsafe::Config::new().failure_policy(policy).build())
}

/// Calls until it has had enough.
fn tripped<S: Service<Request<Body>> + Clone>(service: S) -> S {
    let mut caller = service.clone();
    beforehand(async {
        for _ in 0..10 * FAILURES {
            let _ = call(&mut caller, ORDERS).await;
        }
    });
    service
}

/// Fails at once.
#[derive(Clone, Copy)]
struct Broken;

impl<B> Service<Request<B>> for Broken {
    type Response = Response<Body>;
    type Error = io::Error;
    type Future = Ready<io::Result<Response<Body>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        black_box(&request);
        ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

/// What one writes around a breaker that is no layer, and around a call that is over at once: nothing is held while it
/// waits, and no status is judged.
struct By<B, S> {
    breaker: Arc<B>,
    service: S,
}

impl<B, S> By<B, S> {
    fn new(breaker: B, service: S) -> Self {
        let breaker = Arc::new(breaker);
        Self { breaker, service }
    }
}

impl<B, S: Clone> Clone for By<B, S> {
    fn clone(&self) -> Self {
        Self {
            breaker: self.breaker.clone(),
            service: self.service.clone(),
        }
    }
}

/// Runs a call, or gives none.
trait Runs: Send + Sync {
    fn run<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Option<T>;
}

impl Runs for Recloser {
    fn run<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Option<T> {
        self.call(call).ok()
    }
}

impl<P: failsafe::FailurePolicy + Send + Sync> Runs for FailSafe<P> {
    fn run<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Option<T> {
        self.0.call(call).ok()
    }
}

impl<B, S, E> Service<Request<Body>> for By<B, S>
where
    B: Runs,
    S: Service<Request<Body>, Response = Response<Body>, Error = E>,
    S: Service<Request<Body>, Future = Ready<Result<Response<Body>, E>>>,
{
    type Response = Response<Body>;
    type Error = E;
    type Future = Ready<Result<Response<Body>, E>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = &mut self.service;
        let answer = self.breaker.run(|| service.call(request).into_inner());
        ready(Ok(answer.unwrap_or_else(|| {
            let mut refusal = Response::new(Body::default());
            *refusal.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            refusal
        })))
    }
}
