//! Everything that the store tells: metrics of [`report`](mod@steadfast_core::report), and events.

use steadfast_core::report::{EventDoc, MetricDoc};

/// Gives every metric that this package tells.
pub fn metrics() -> impl Iterator<Item = &'static MetricDoc> {
    [
        crate::health::METRICS,
        crate::node::METRICS,
        crate::pool::METRICS,
    ]
    .into_iter()
    .flatten()
}

/// Gives every event that this package tells.
pub fn events() -> impl Iterator<Item = &'static EventDoc> {
    [
        crate::lease::EVENTS,
        crate::node::EVENTS,
        crate::pool::EVENTS,
        crate::schema::EVENTS,
        crate::sink::EVENTS,
        crate::wake::EVENTS,
    ]
    .into_iter()
    .flatten()
}
