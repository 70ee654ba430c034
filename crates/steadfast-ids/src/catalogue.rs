//! Everything that generators tell: metrics of [`report`](mod@steadfast_core::report).

#[cfg(feature = "sql")]
use steadfast_core::report::EventDoc;
use steadfast_core::report::MetricDoc;

/// Gives every metric that this package tells.
pub fn metrics() -> impl Iterator<Item = &'static MetricDoc> {
    let all = [
        crate::generator::METRICS,
        #[cfg(feature = "sql")]
        crate::worker_id::METRICS,
        #[cfg(feature = "sql")]
        crate::dense::METRICS,
        #[cfg(feature = "http")]
        crate::http::METRICS,
    ];
    all.into_iter().flatten()
}

/// Gives every event that this package emits.
#[cfg(feature = "sql")]
pub fn events() -> impl Iterator<Item = &'static EventDoc> {
    crate::worker_id::EVENTS.iter().chain(crate::dense::EVENTS)
}
