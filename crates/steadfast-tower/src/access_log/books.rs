use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::{Method, StatusCode};
use steadfast_core::context::Name;
use steadfast_core::report::{self, Collector, Source};

use super::record::Ended;
use crate::counts::Counts;

/// How many counts there are of one kind: 2,048, enough for 300 routes of two methods and three
/// outcomes, and few enough for one source of the [report](steadfast_core::report::METRICS_MAX).
pub const COUNTS_MAX: usize = 2_048;

/// The counts of all requests of this process: one place, so that equal labels come once.
pub(super) static BOOKS: LazyLock<Arc<Books>> = LazyLock::new(|| {
    let books = Arc::new(Books {
        active: Counts::new(COUNTS_MAX),
        ended: Counts::new(COUNTS_MAX),
    });
    // Without a place in the report the log still tells.
    let _ = report::register("http_server", &books);
    books
});

pub(super) struct Books {
    active: Counts<Target, Active>,
    ended: Counts<End, Totals>,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) route: Name,
    pub(super) method: Name,
}

/// What has become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct End {
    pub(super) target: Target,
    pub(super) status: Option<StatusCode>,
    pub(super) ended: Ended,
}

#[derive(Debug, Default)]
pub(super) struct Active(AtomicU64);

#[derive(Debug, Default)]
struct Totals {
    count: AtomicU64,
    nanos: AtomicU64,
    body_bytes: AtomicU64,
}

impl Target {
    pub(super) fn new(route: Name, method: &Method) -> Self {
        let method = method_name(method);
        Self { route, method }
    }

    fn beyond(self) -> Self {
        Self {
            route: Name::OTHER,
            ..self
        }
    }
}

/// Gives a name from the set that OpenTelemetry knows: clients may make up any method.
fn method_name(method: &Method) -> Name {
    let known = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::HEAD,
        Method::OPTIONS,
        Method::CONNECT,
        Method::TRACE,
    ];
    const NAMES: [&str; 9] = [
        "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE",
    ];
    let known = known.iter().position(|known| known == method);
    Name::new(known.map_or("_OTHER", |known| NAMES[known]))
}

impl Books {
    pub(super) fn begin(&self, target: Target) -> Arc<Active> {
        let active = self.active.of(target, Target::beyond);
        active.0.fetch_add(1, Ordering::Relaxed);
        active
    }

    pub(super) fn end(&self, active: &Active, end: End, duration: Duration, body_bytes: u64) {
        active.0.fetch_sub(1, Ordering::Relaxed);
        let totals = self.ended.of(end, |end| End {
            target: end.target.beyond(),
            ..end
        });
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        totals.count.fetch_add(1, Ordering::Relaxed);
        totals.nanos.fetch_add(nanos, Ordering::Relaxed);
        totals.body_bytes.fetch_add(body_bytes, Ordering::Relaxed);
    }
}

impl Source for Books {
    fn collect(&self, to: &mut Collector) {
        self.active.each(|target, active| {
            let active = active.0.load(Ordering::Relaxed);
            to.labels([
                ("http_route", target.route),
                ("http_request_method", target.method),
            ])
            .gauge("http_server_active_requests", active as f64);
        });
        self.ended.each(|end, totals| tell(to, end, totals));
    }
}

fn tell(to: &mut Collector, end: &End, totals: &Totals) {
    let count = totals.count.load(Ordering::Relaxed);
    let seconds = totals.nanos.load(Ordering::Relaxed) as f64 / 1e9;
    let bytes = totals.body_bytes.load(Ordering::Relaxed);
    // An empty label is one that is not there, says Prometheus.
    let status = end.status.map_or(Name::new(""), |status| {
        Name::from(status.as_str().to_owned())
    });
    to.labels([
        ("http_route", end.target.route),
        ("http_request_method", end.target.method),
        ("http_response_status_code", status),
        ("error_type", end.ended.error_type().into()),
    ])
    .counter("http_server_request_duration_seconds_count", count)
    .sum("http_server_request_duration_seconds_sum", seconds)
    .counter("http_server_response_body_size_bytes_count", count)
    .counter("http_server_response_body_size_bytes_sum", bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_come_from_a_bounded_set() {
        for (method, name) in [
            ("GET", "GET"),
            ("PATCH", "PATCH"),
            ("TRACE", "TRACE"),
            ("get", "_OTHER"),
            ("BREW", "_OTHER"),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(method_name(&method).as_str(), name);
        }
    }
}
