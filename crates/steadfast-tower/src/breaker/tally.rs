use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use steadfast_core::context::Name;
use steadfast_core::decide::breaker::{Change, TripReason};
use steadfast_core::report::{Collector, EventDoc, MetricDoc};
use steadfast_core::rng;

use super::endpoint::Endpoint;

/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_breaker_endpoints",
        &["policy", "state"],
        "Endpoints of a dependency, by what their breaker does: closed, open, half-open or ramp.",
    ),
    MetricDoc::gauge(
        "steadfast_breaker_forced",
        &["policy"],
        "Endpoints on which an operator holds a hand.",
    ),
    MetricDoc::counter(
        "steadfast_breaker_changes_total",
        &["policy", "to"],
        "How often a breaker tripped, was probed, came back and had recovered.",
    ),
    MetricDoc::counter(
        "steadfast_breaker_rejected_total",
        &["policy"],
        "Calls that were rejected because the endpoint fails.",
    ),
];

/// What it tells to the log.
pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new(
        "steadfast::breaker",
        &["warn"],
        "the breaker is open: {}",
        &["endpoint", "open_ms", "policy"],
    )
    .when("Too many calls to an endpoint failed or were slow, or its probes did.")
    .action("Look at that dependency: the message has what was seen. Calls to it are rejected at once meanwhile."),
    EventDoc::new(
        "steadfast::breaker",
        &["info"],
        "the breaker is half-open: a few calls find out how things are",
        &["endpoint", "policy"],
    )
    .when("It was open for its time.")
    .action("Nothing."),
    EventDoc::new(
        "steadfast::breaker",
        &["info"],
        "the calls come back: the probes went well",
        &["endpoint", "policy"],
    )
    .when("A round of half-open went well, and a growing share of the calls passes.")
    .action("Nothing."),
    EventDoc::new(
        "steadfast::breaker",
        &["info"],
        "the breaker is closed: it has recovered",
        &["endpoint", "policy"],
    )
    .when("All calls pass again.")
    .action("Nothing."),
    EventDoc::new(
        "steadfast::breaker",
        &["warn"],
        "an operator {}",
        &["author", "endpoint", "lasts_s", "policy", "reason"],
    )
    .when("Somebody forces a breaker open or closed, or disables it, for a time.")
    .action("Nothing: `author` and `reason` say who to ask. It ends by itself."),
    EventDoc::new(
        "steadfast::breaker",
        &["warn"],
        "an operator lets go of the breaker",
        &["author", "endpoint", "policy", "reason"],
    )
    .when("Somebody ends what was forced before its time.")
    .action("Nothing."),
];

/// What has happened to the endpoints of one dependency.
#[derive(Debug, Default)]
pub(super) struct Tally {
    changes: [AtomicU64; CHANGES.len()],
    rejected: AtomicU64,
}

/// What a change leads to, as the metric has it.
const CHANGES: [&str; 4] = ["open", "half-open", "ramp", "closed"];

impl Tally {
    pub(super) fn rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a change, and tells it.
    pub(super) fn changed(&self, policy: Name, endpoint: &Endpoint, change: Change) {
        let to = match change {
            Change::Tripped { .. } => 0,
            Change::Probing => 1,
            Change::Recovering => 2,
            Change::Recovered => 3,
        };
        self.changes[to].fetch_add(1, Ordering::Relaxed);
        let endpoint_name = endpoint.name.as_str();
        match change {
            Change::Tripped { reason, open_for } => {
                endpoint.tripped(reason, open_for);
                tracing::warn!(
                    target: "steadfast::breaker",
                    policy = %policy,
                    endpoint = endpoint_name,
                    open_ms = open_for.as_millis() as u64,
                    "the breaker is open: {}", told(reason),
                );
            }
            Change::Probing => tracing::info!(
                target: "steadfast::breaker",
                policy = %policy,
                endpoint = endpoint_name,
                "the breaker is half-open: a few calls find out how things are"
            ),
            Change::Recovering => tracing::info!(
                target: "steadfast::breaker",
                policy = %policy,
                endpoint = endpoint_name,
                "the calls come back: the probes went well"
            ),
            Change::Recovered => tracing::info!(
                target: "steadfast::breaker",
                policy = %policy,
                endpoint = endpoint_name,
                "the breaker is closed: it has recovered"
            ),
        }
    }

    pub(super) fn collect(&self, policy: Name, to: &mut Collector) {
        for (change, count) in CHANGES.iter().zip(&self.changes) {
            to.labels([("policy", policy), ("to", (*change).into())])
                .counter(
                    "steadfast_breaker_changes_total",
                    count.load(Ordering::Relaxed),
                );
        }
        to.labels([("policy", policy)]).counter(
            "steadfast_breaker_rejected_total",
            self.rejected.load(Ordering::Relaxed),
        );
    }
}

/// Says why one tripped, for people.
pub(super) fn told(reason: TripReason) -> String {
    match reason {
        TripReason::FailureShare { failed, calls } => format!("{failed} of {calls} calls failed"),
        TripReason::SlowShare { slow, calls } => format!("{slow} of {calls} calls were slow"),
        TripReason::Consecutive { failures } => format!("{failures} failures in a row"),
        TripReason::Probes {
            failed,
            slow,
            ended,
        } => format!("of {ended} probes {failed} failed and {slow} were slow"),
        TripReason::NoProbeCameBack => "no probe came back in time".to_owned(),
    }
}

/// When to come back: up to a tenth later by chance, so that not all callers do at once.
pub(super) fn come_back(after: Duration) -> Duration {
    let chance = rng::bits() as u8;
    after + after / 10 * u32::from(chance) / 255
}
