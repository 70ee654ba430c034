//! What a pool tells, in the words of OpenTelemetry where it has some.

use std::time::Duration;

use steadfast_core::report::{Buckets, Collector, EventDoc, MetricDoc};

use super::PoolStats;

/// Upper bounds in seconds, from a millisecond to ten seconds.
const SECONDS: &[f64] = &[
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];

/// Durations, counted by bucket.
#[derive(Debug, Clone, Default)]
pub(super) struct Durations {
    counts: [u64; SECONDS.len() + 1],
    seconds: f64,
}

impl Durations {
    pub(super) fn note(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        self.counts[SECONDS.partition_point(|bound| *bound < seconds)] += 1;
        self.seconds += seconds;
    }

    fn read(&self) -> Buckets {
        Buckets::new(SECONDS, self.counts, self.seconds)
    }
}

/// How long things took.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    pub(super) wait: Durations,
    pub(super) create: Durations,
    pub(super) held: Durations,
}

pub(super) fn collect(stats: &PoolStats, times: &Times, to: &mut Collector) {
    let pool = ("db_client_connection_pool_name", stats.name);
    for (state, count) in [("used", stats.used), ("idle", stats.idle)] {
        to.labels([pool, ("db_client_connection_state", state.into())])
            .gauge("db_client_connection_count", count as f64);
    }
    to.labels([pool])
        .gauge("db_client_connection_max", stats.size as f64)
        .gauge(
            "db_client_connection_pending_requests",
            stats.waiters as f64,
        )
        .counter("db_client_connection_timeouts_total", stats.timeouts)
        .histogram("db_client_connection_wait_time_seconds", times.wait.read())
        .histogram(
            "db_client_connection_create_time_seconds",
            times.create.read(),
        )
        .histogram("db_client_connection_use_time_seconds", times.held.read())
        .gauge("steadfast_pool_held_long", stats.held_long as f64)
        .counter("steadfast_pool_nested_total", stats.nested)
        .counter("steadfast_pool_discarded_total", stats.discarded);
}

const POOL: &[&str] = &["db_client_connection_pool_name"];

/// What a pool tells about itself.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "db_client_connection_count",
        &[
            "db_client_connection_pool_name",
            "db_client_connection_state",
        ],
        "Connections that are used, and those that are idle.",
    ),
    MetricDoc::gauge(
        "db_client_connection_max",
        POOL,
        "How many connections there may be.",
    ),
    MetricDoc::gauge(
        "db_client_connection_pending_requests",
        POOL,
        "How many wait for a connection.",
    ),
    MetricDoc::counter(
        "db_client_connection_timeouts_total",
        POOL,
        "How often a connection was waited for in vain.",
    ),
    MetricDoc::histogram(
        "db_client_connection_wait_time_seconds",
        POOL,
        "How long a connection was waited for.",
    ),
    MetricDoc::histogram(
        "db_client_connection_create_time_seconds",
        POOL,
        "How long it took to connect.",
    ),
    MetricDoc::histogram(
        "db_client_connection_use_time_seconds",
        POOL,
        "How long a connection was held.",
    ),
    MetricDoc::gauge(
        "steadfast_pool_held_long",
        POOL,
        "Connections that have been held for longer than `leak_after`.",
    ),
    MetricDoc::counter(
        "steadfast_pool_nested_total",
        POOL,
        "How often a task waited for a connection while it held one.",
    ),
    MetricDoc::counter(
        "steadfast_pool_discarded_total",
        POOL,
        "Connections that were thrown away, because nobody knew in which state they were.",
    ),
];

/// What it tells in the log.
pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new(
        "steadfast::pool",
        &["warn"],
        "a connection is held for long",
        &["held_ms", "holder", "place", "pool", "trace_id"],
    )
    .when("Somebody has a connection for longer than `leak_after`; told once for each.")
    .action("`place` is where it was taken: give it back before waiting for anything else. `Pool::holders` shows all."),
    EventDoc::new(
        "steadfast::pool",
        &["warn"],
        "a task waits for a connection while it holds one",
        &["holder", "own", "place", "pool"],
    )
    .when("The pool is empty, and the task that waits has a connection of it; once for each place.")
    .action("If enough tasks do so at once, all wait for each other: pass the connection on, or give it back first."),
];
