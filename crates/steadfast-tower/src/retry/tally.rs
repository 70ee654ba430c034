use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use steadfast_core::context::{self, Name};
use steadfast_core::decide::budget::{Failure, StopReason};
use steadfast_core::report::{Collector, EventDoc, MetricDoc};

use crate::CallEnd;
use crate::count::Count;

/// What became of the calls of one layer.
#[derive(Debug, Default)]
pub(super) struct Tally {
    calls: AtomicU64,
    repaired: AtomicU64,
    retries: Count,
    stops: [Count; Stop::ALL.len()],
}

/// Why the last answer was given to the caller although it was a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Decided(StopReason),
    /// The breaker of the target is not closed.
    BreakerNotClosed,
    /// The body of the request is longer than what is kept.
    BodyTooLong,
    /// The body of the request has failed.
    BodyBroken,
}

impl Tally {
    pub(super) fn called(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// A call succeeded after it had failed.
    pub(super) fn repaired(&self) {
        self.repaired.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn retried(
        &self,
        policy: Name,
        attempt: u8,
        end: &CallEnd,
        wait: Duration,
        now: u64,
    ) {
        let Some(since) = self.retries.add(now) else {
            return;
        };
        let context = context::current();
        tracing::info!(
            target: "steadfast::retry",
            policy = %policy,
            route = context.route().map(tracing::field::display),
            attempt,
            failure = failure(end),
            rejected = end.rejection().map(|reason| reason.as_str()),
            wait_ms = wait.as_millis() as u64,
            trace_id = context.trace_id().map(tracing::field::display),
            count = since,
            "trying again"
        );
    }

    pub(super) fn stopped(&self, policy: Name, attempt: u8, end: &CallEnd, stop: Stop, now: u64) {
        let Some(since) = self.stops[stop.index()].add(now) else {
            return;
        };
        if stop.is_usual() {
            return;
        }
        let context = context::current();
        tracing::warn!(
            target: "steadfast::retry",
            policy = %policy,
            route = context.route().map(tracing::field::display),
            attempts = attempt,
            failure = failure(end),
            rejected = end.rejection().map(|reason| reason.as_str()),
            reason = stop.as_str(),
            trace_id = context.trace_id().map(tracing::field::display),
            count = since,
            "not tried again: {}", stop.title(),
        );
    }

    pub(super) fn collect(&self, policy: Name, to: &mut Collector) {
        to.labels([("policy", policy)])
            .counter(
                "steadfast_retry_calls_total",
                self.calls.load(Ordering::Relaxed),
            )
            .counter("steadfast_retries_total", self.retries.total())
            .counter(
                "steadfast_retry_repaired_total",
                self.repaired.load(Ordering::Relaxed),
            );
        for stop in Stop::ALL {
            to.labels([("policy", policy), ("reason", stop.as_str().into())])
                .counter(
                    "steadfast_retry_stops_total",
                    self.stops[stop.index()].total(),
                );
        }
    }
}

/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::counter(
        "steadfast_retry_calls_total",
        &["policy"],
        "Calls, each counted once however often it was tried.",
    ),
    MetricDoc::counter(
        "steadfast_retries_total",
        &["policy"],
        "Attempts after the first one.",
    ),
    MetricDoc::counter(
        "steadfast_retry_repaired_total",
        &["policy"],
        "Calls that failed at first and then succeeded.",
    ),
    MetricDoc::counter(
        "steadfast_retry_stops_total",
        &["policy", "reason"],
        "Failures that were given to the caller, and why there was no further attempt.",
    ),
    MetricDoc::gauge(
        "steadfast_retry_budgets",
        &["policy", "by"],
        "Budgets that are kept, by route and by target.",
    ),
];

/// What it tells to the log.
pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new("steadfast::retry", &["info"], "trying again", &["attempt", "count", "failure", "policy", "rejected", "route", "trace_id", "wait_ms"]).when("A call failed and is tried again; the first at once, then one a second with the `count` since.").action("Nothing for a few; many say that the dependency fails."),
    EventDoc::new("steadfast::retry", &["warn"], "not tried again: {}", &["attempts", "count", "failure", "policy", "reason", "rejected", "route", "trace_id"]).when("A failure was given to the caller although it might have been repeated; one a second for each reason.").action("`budget-spent`: the dependency fails for everybody, and more retries would keep it down."),
];

impl Stop {
    const ALL: [Self; 10] = [
        Self::Decided(StopReason::Permanent),
        Self::Decided(StopReason::RetriedOutside),
        Self::Decided(StopReason::AttemptsSpent),
        Self::Decided(StopReason::NotReplayable),
        Self::Decided(StopReason::RetryAfterTooLong),
        Self::Decided(StopReason::Deadline),
        Self::Decided(StopReason::BudgetSpent),
        Self::BreakerNotClosed,
        Self::BodyTooLong,
        Self::BodyBroken,
    ];

    fn index(self) -> usize {
        let found = Self::ALL.iter().position(|stop| *stop == self);
        found.expect("all are listed")
    }

    /// Says nothing about the dependency or the settings, so it is counted and not told.
    fn is_usual(self) -> bool {
        match self {
            Self::Decided(reason) => match reason {
                StopReason::Permanent | StopReason::RetriedOutside | StopReason::NotReplayable => {
                    true
                }
                StopReason::AttemptsSpent
                | StopReason::RetryAfterTooLong
                | StopReason::Deadline
                | StopReason::BudgetSpent => false,
            },
            // The breaker has told it.
            Self::BreakerNotClosed => true,
            Self::BodyTooLong | Self::BodyBroken => false,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Decided(StopReason::Permanent) => "permanent",
            Self::Decided(StopReason::RetriedOutside) => "retried-outside",
            Self::Decided(StopReason::AttemptsSpent) => "attempts-spent",
            Self::Decided(StopReason::NotReplayable) => "not-replayable",
            Self::Decided(StopReason::RetryAfterTooLong) => "retry-after-too-long",
            Self::Decided(StopReason::Deadline) => "deadline",
            Self::Decided(StopReason::BudgetSpent) => "budget-spent",
            Self::BreakerNotClosed => "breaker-not-closed",
            Self::BodyTooLong => "body-too-long",
            Self::BodyBroken => "body-broken",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Decided(StopReason::Permanent) => "it would fail again",
            Self::Decided(StopReason::RetriedOutside) => "somebody outside retries",
            Self::Decided(StopReason::AttemptsSpent) => "all attempts are made",
            Self::Decided(StopReason::NotReplayable) => "it may have taken effect",
            Self::Decided(StopReason::RetryAfterTooLong) => "the target asked to wait too long",
            Self::Decided(StopReason::Deadline) => "the deadline is too near",
            Self::Decided(StopReason::BudgetSpent) => "too many calls are tried again already",
            Self::BreakerNotClosed => "the breaker of the target is not closed",
            Self::BodyTooLong => "the body is longer than what is kept of it",
            Self::BodyBroken => "the body has failed",
        }
    }
}

fn failure(end: &CallEnd) -> Option<&'static str> {
    Some(match end.failure()? {
        Failure::Unsent => "unsent",
        Failure::Unknown => "unknown",
        Failure::Permanent => "permanent",
    })
}
