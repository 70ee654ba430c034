//! A timeout that nobody meets.

use std::time::Duration;

use http::StatusCode;
use steadfast::decide::timeout::TimeoutConfig;
use steadfast::tower::TimeoutLayer;
use tower::Layer;
use tower_resilience::timelimiter::TimeLimiterLayer;

use super::service::{Handler, calls, served};
use crate::Group;

const TIMEOUT: Duration = Duration::from_secs(1);

pub(super) fn group() -> Group {
    let fixed = TimeoutLayer::fixed("orders", TIMEOUT).expect("a second is in range");
    let config = TimeoutConfig::new(TIMEOUT / 100, TIMEOUT).expect("the bounds are in range");
    let learned = TimeoutLayer::learned("orders", config, None);
    let limiter = TimeLimiterLayer::builder().timeout_duration(TIMEOUT);
    let http =
        tower_http::timeout::TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, TIMEOUT);
    Group::new("layer: timeout", "request")
        .ours(calls(
            "steadfast TimeoutLayer, fixed",
            fixed.layer(Handler),
            served,
        ))
        .peer(calls("no layer", Handler, served))
        .peer(calls(
            "steadfast TimeoutLayer, learned",
            learned.layer(Handler),
            served,
        ))
        .peer(calls(
            "tower timeout",
            tower::timeout::TimeoutLayer::new(TIMEOUT).layer(Handler),
            served,
        ))
        .peer(calls("tower-http timeout", http.layer(Handler), served))
        .peer(calls(RESILIENCE, limiter.build().layer(Handler), served))
        .budget(crate::budget::Budget::AheadOf { peer: RESILIENCE })
}

const RESILIENCE: &str = "tower-resilience time limiter";
