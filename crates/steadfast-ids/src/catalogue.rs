//! Everything that generators tell: metrics of [`report`](mod@steadfast_core::report).

use steadfast_core::report::MetricDoc;

/// Gives every metric that this package tells.
pub fn metrics() -> impl Iterator<Item = &'static MetricDoc> {
    crate::generator::METRICS.iter()
}
