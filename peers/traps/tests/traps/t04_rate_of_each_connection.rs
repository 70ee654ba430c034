//! `Buffer` and `RateLimit` in the layers of a router: each connection has its own rate.

use std::time::Duration;

use axum::error_handling::HandleErrorLayer;
use axum::routing::get;
use axum::{BoxError, Router};
use http::StatusCode;
use tower::ServiceBuilder;
use tower::buffer::BufferLayer;
use tower::limit::RateLimitLayer;

use crate::support::{Side, answers, ask_often, guarded, seen, serve};

fn app() -> Router {
    Router::new().route("/orders", get(async || "ordered"))
}

#[tokio::test]
async fn the_usual_assembly_fails() {
    let hour = Duration::from_secs(3600);
    // RateLimit cannot be cloned, hence the buffer; the buffer fails with a boxed error, hence the first layer.
    let limit = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(async |_: BoxError| {
            StatusCode::TOO_MANY_REQUESTS
        }))
        .layer(BufferLayer::new(1024))
        .layer(RateLimitLayer::new(5, hour));
    let address = serve(app().layer(limit)).await;

    let served = answers(&mut ask_often(address, "/orders", 200), 200).await;

    assert!(served.iter().all(|answer| answer.status == Some(200)));
    seen(
        "t04",
        Side::Usual,
        "200 of 200 were served at once under a rate of 5 an hour",
    );
}

#[tokio::test]
async fn ours_holds() {
    let policy = r#"
        [rates.orders]
        requests = 5
        period = "1h"
        burst = 5

        [timeouts.page]
        timeout = "2s"

        [routes."/orders"]
        timeout = "page"
        quota = "orders"
    "#;
    let address = serve(guarded(policy, app()).await).await;

    let answers = answers(&mut ask_often(address, "/orders", 200), 200).await;

    let with = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == Some(status))
            .count()
    };
    assert_eq!((with(200), with(429)), (5, 195));
    let rejected = answers
        .iter()
        .filter(|answer| answer.rejected() == Some("rate-limited"));
    assert!(
        rejected
            .clone()
            .all(|answer| answer.header("retry-after").is_some())
    );
    assert_eq!(rejected.count(), 195);
    seen(
        "t04",
        Side::Ours,
        "5 of 200 were served, and 195 told `rate-limited`",
    );
}
