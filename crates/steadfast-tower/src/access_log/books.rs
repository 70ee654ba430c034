use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::{Method, StatusCode};
use steadfast_core::context::Name;
use steadfast_core::report::{self, Buckets, Collector, MetricDoc, Source};

use super::record::Ended;
use crate::counts::Counts;
use crate::measured::{Durations, KnownMethod, bounds_below};

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
    durations: Durations,
    sizes: [AtomicU64; SIZES.len() + 1],
    body_bytes: AtomicU64,
}

/// Up to which sizes bodies are counted, in bytes: a few, since they say how large answers are and
/// not how slow.
const SIZES: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8];

impl Target {
    pub(super) fn new(route: Name, method: &Method) -> Self {
        let method = KnownMethod::of(method).name();
        Self { route, method }
    }

    fn beyond(self) -> Self {
        Self {
            route: Name::OTHER,
            ..self
        }
    }
}

impl Books {
    pub(super) fn begin(&self, target: Target) -> Arc<Active> {
        let active = self.active.of(target, Target::beyond);
        active.0.fetch_add(1, Ordering::Relaxed);
        active
    }

    pub(super) fn end(&self, active: &Active, end: End, duration: Duration, body_bytes: u64) {
        active.0.fetch_sub(1, Ordering::Relaxed);
        let beyond = |end: End| End {
            target: end.target.beyond(),
            ..end
        };
        self.ended.with(end, beyond, |totals| {
            let larger_than = bounds_below(SIZES, body_bytes as f64);
            totals.durations.note(duration);
            totals.sizes[larger_than].fetch_add(1, Ordering::Relaxed);
            totals.body_bytes.fetch_add(body_bytes, Ordering::Relaxed);
        });
    }
}

/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "http_server_active_requests",
        &["http_route", "http_request_method"],
        "Requests whose answer is not over.",
    ),
    MetricDoc::histogram(
        "http_server_request_duration_seconds",
        &[
            "http_route",
            "http_request_method",
            "http_response_status_code",
            "error_type",
        ],
        "How long requests took to the end of their answer. Without a status nobody saw one; `error_type` is how it ended, unless it was served.",
    ),
    MetricDoc::histogram(
        "http_server_response_body_size_bytes",
        &[
            "http_route",
            "http_request_method",
            "http_response_status_code",
            "error_type",
        ],
        "How much of the body was handed to the server.",
    ),
];

impl Source for Books {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

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
    let sizes = totals.sizes.iter();
    let sizes: Vec<_> = sizes.map(|count| count.load(Ordering::Relaxed)).collect();
    let bytes = totals.body_bytes.load(Ordering::Relaxed) as f64;
    let sizes = Buckets::new(SIZES, sizes, bytes);
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
    .histogram(
        "http_server_request_duration_seconds",
        totals.durations.read(),
    )
    .histogram("http_server_response_body_size_bytes", sizes);
}
