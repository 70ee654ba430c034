//! Layers whose errors are boxed do not fit `Router::layer`.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::{Route, get};
use steadfast::decide::admission::AdmissionConfig;
use steadfast::decide::policy::Timeout;
use steadfast::decide::rate::Quota;
use steadfast::tower::{
    AccessLogLayer, AdmissionLayer, DeadlineLayer, Drain, DrainLayer, RateLimitLayer, RecoverLayer,
    RouteLayer, TimeoutLayer, TraceIdLayer, Trust,
};
use tower::{Layer, Service};

use crate::support::{Side, ask, seen, serve};

struct Question<L>(PhantomData<L>);

/// What `Router::layer` asks of a layer. What is inherent goes before what a trait brings: the compiler answers yes where
/// it can.
impl<L> Question<L>
where
    L: Layer<Route> + Clone + Send + Sync + 'static,
    L::Service: Service<Request> + Clone + Send + Sync + 'static,
    <L::Service as Service<Request>>::Response: IntoResponse + 'static,
    <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
    <L::Service as Service<Request>>::Future: Send + 'static,
{
    const FITS: bool = true;
}

trait No {
    const FITS: bool = false;
}

impl<L> No for Question<L> {}

#[test]
fn the_usual_assembly_fails() {
    use tower::buffer::BufferLayer;
    use tower::limit::RateLimitLayer;
    use tower::load_shed::LoadShedLayer;
    use tower::timeout::TimeoutLayer;
    use tower_http::catch_panic::{CatchPanicLayer, DefaultResponseForPanic};
    use tower_resilience::{bulkhead, circuitbreaker, ratelimiter};

    let fits = [
        ("tower timeout", Question::<TimeoutLayer>::FITS),
        ("tower load shed", Question::<LoadShedLayer>::FITS),
        ("tower rate limit", Question::<RateLimitLayer>::FITS),
        ("tower buffer", Question::<BufferLayer<Request>>::FITS),
        (
            "tower-resilience bulkhead",
            Question::<bulkhead::BulkheadLayer>::FITS,
        ),
        (
            "tower-resilience rate limiter",
            Question::<ratelimiter::RateLimiterLayer>::FITS,
        ),
        (
            "tower-resilience circuit breaker",
            Question::<circuitbreaker::CircuitBreakerLayer>::FITS,
        ),
    ];

    // The question can be answered with yes.
    const {
        assert!(Question::<CatchPanicLayer<DefaultResponseForPanic>>::FITS);
    }
    for (layer, fits) in fits {
        assert!(!fits, "{layer} fits");
    }
    seen(
        "t13",
        Side::Usual,
        "none of 7 layers of tower and tower-resilience fits `Router::layer`",
    );
}

#[tokio::test]
async fn ours_holds() {
    let second = Duration::from_secs(1);
    let app = Router::new()
        .route("/", get(async || "served"))
        .layer(TimeoutLayer::fixed("t13", second).unwrap())
        .layer(AdmissionLayer::fixed("t13", 5, AdmissionConfig::default()).unwrap())
        .layer(RateLimitLayer::shared(
            "t13",
            Quota::new(100, second, 100).unwrap(),
        ))
        .layer(DrainLayer::new(&Drain::default()))
        .layer(DeadlineLayer::edge(Timeout::new(second).unwrap()))
        .layer(AccessLogLayer::new())
        .layer(RouteLayer::matched_path())
        .layer(RecoverLayer::new())
        .layer(TraceIdLayer::new(Trust::Edge));

    let answer = ask(serve(app).await, "/").await;

    assert_eq!((answer.status, answer.body.as_str()), (Some(200), "served"));
    seen(
        "t13",
        Side::Ours,
        "9 of our layers, one above the other, and a request went through them",
    );
}
