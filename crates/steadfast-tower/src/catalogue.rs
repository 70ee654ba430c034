//! Everything that the layers tell: metrics of [`report`](mod@steadfast_core::report), and events.
//!
//! Each part keeps its tables beside its code; here they are together, for the reference and for
//! whoever makes dashboards and alerts.

use steadfast_core::report::{EventDoc, MetricDoc};

/// Gives every metric that this package tells.
pub fn metrics() -> impl Iterator<Item = &'static MetricDoc> {
    [
        crate::access_log::METRICS,
        crate::admission::METRICS,
        crate::breaker::METRICS,
        crate::drain::METRICS,
        crate::guard::METRICS,
        crate::guard::DEPENDENCY_METRICS,
        crate::hedge::METRICS,
        #[cfg(feature = "prometheus")]
        crate::prometheus::METRICS,
        crate::rate_limit::METRICS,
        crate::reject::METRICS,
        crate::retry::METRICS,
        #[cfg(feature = "serve")]
        crate::guard::SERVE_METRICS,
        crate::streams::METRICS,
        crate::timeout::METRICS,
    ]
    .into_iter()
    .flatten()
}

/// Gives every event that this package tells.
pub fn events() -> impl Iterator<Item = &'static EventDoc> {
    [
        crate::access_log::EVENTS,
        crate::breaker::EVENTS,
        crate::drain::EVENTS,
        crate::guard::EVENTS,
        crate::guard::DEPENDENCY_EVENTS,
        crate::guard::LIVE_EVENTS,
        #[cfg(feature = "serve")]
        crate::guard::SERVE_EVENTS,
        #[cfg(feature = "serve")]
        crate::guard::SERVE_END_EVENTS,
        #[cfg(feature = "prometheus")]
        crate::prometheus::EVENTS,
        crate::reject::EVENTS,
        crate::retry::EVENTS,
        crate::streams::EVENTS,
    ]
    .into_iter()
    .flatten()
}
