//! How long the attempts of calls take, as OpenTelemetry names it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use steadfast_core::context::Name;
use steadfast_core::report::{Collector, MetricDoc};

use crate::counts::Counts;
use crate::measured::{Durations, KnownMethod};

/// How many histograms there are of one dependency: 128, ten methods with a dozen outcomes each. What
/// comes later is counted together, so that one that answers whatever comes to its mind takes no more.
const HISTOGRAMS_MAX: usize = 128;

/// The attempts of one dependency.
pub(crate) struct Attempts(Counts<Kind, Durations>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    method: KnownMethod,
    ended: AttemptEnd,
}

/// How an attempt has ended, as far as its head goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AttemptEnd {
    Answered(StatusCode),
    /// By an error of the transport.
    Failed,
    TimedOut,
    /// Nobody waited for it any more: a hedge was faster, or the caller has left.
    Dropped,
    Panicked,
    /// One of those for which there is no room.
    Other,
}

/// One attempt under way, of which the end is to be counted.
#[derive(Debug)]
pub(crate) struct Attempt {
    attempts: Arc<Attempts>,
    method: KnownMethod,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self(Counts::new(HISTOGRAMS_MAX))
    }

    pub(super) fn tell(&self, dependency: Name, to: &mut Collector) {
        self.0.each(|Kind { method, ended }, durations| {
            // An empty label is one that is not there, says Prometheus.
            let (status, error) = match ended {
                AttemptEnd::Answered(status) => (Name::from(status.as_str().to_owned()), ""),
                AttemptEnd::Failed => ("".into(), "failed"),
                AttemptEnd::TimedOut => ("".into(), "timed_out"),
                AttemptEnd::Dropped => ("".into(), "dropped"),
                AttemptEnd::Panicked => ("".into(), "panicked"),
                AttemptEnd::Other => ("".into(), "_OTHER"),
            };
            to.labels([
                ("dependency", dependency),
                ("http_request_method", method.name()),
                ("http_response_status_code", status),
                ("error_type", error.into()),
            ])
            .histogram("http_client_request_duration_seconds", durations.read());
        });
    }
}

impl Attempt {
    pub(crate) fn new(attempts: Arc<Attempts>, method: &Method) -> Self {
        let method = KnownMethod::of(method);
        Self { attempts, method }
    }

    pub(crate) fn ended(self, ended: AttemptEnd, took: Duration) {
        let kind = Kind {
            method: self.method,
            ended,
        };
        let beyond = |_| Kind {
            method: KnownMethod::OTHER,
            ended: AttemptEnd::Other,
        };
        let attempts = &self.attempts.0;
        attempts.with(kind, beyond, |durations| durations.note(took));
    }
}

/// Described with what else is told of a dependency.
pub(super) const DURATION: MetricDoc = MetricDoc::histogram(
    "http_client_request_duration_seconds",
    &[
        "dependency",
        "http_request_method",
        "http_response_status_code",
        "error_type",
    ],
    "How long attempts took to the head of their answer; one that the guard rejected unsent is none. Without a status there was no answer, and `error_type` says why: failed, timed_out, dropped, panicked, or _OTHER beyond 128 kinds of a dependency.",
);

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts").finish_non_exhaustive()
    }
}
