use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::response::Parts;
use steadfast_core::decide::breaker::{self, Permit};

use super::body::Telling;
use super::endpoint::Endpoint;
use super::shared::Shared;
use crate::CallEnd;
use crate::classify::{self, Classify};

/// The right to make one call; what is dropped has shown nothing, and gives it back.
pub(crate) struct Pass {
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    /// Absent once it was used.
    permit: Option<Permit>,
    since: u64,
}

impl Pass {
    pub(super) fn new(
        shared: Arc<Shared>,
        endpoint: Arc<Endpoint>,
        permit: Permit,
        since: u64,
    ) -> Self {
        Self {
            shared,
            endpoint,
            permit: Some(permit),
            since,
        }
    }

    /// Whether the call probes an endpoint that was down.
    pub(super) fn is_probe(&self) -> bool {
        self.permit.as_ref().is_some_and(Permit::is_probe)
    }

    /// Tells how the call has ended whose head is there `now`, or has the body tell it.
    pub(crate) fn judged<E>(
        self,
        head: &Parts,
        classifier: &impl Classify<E>,
        now: u64,
    ) -> Option<Telling> {
        let end = classify::contained(classifier, Ok(head));
        let took = self.took(now);
        if end.is_success() && classify::is_told_by_trailers(head) {
            return Some(Telling::new(self, took));
        }
        self.ended(&end, took, now);
        None
    }

    /// Tells how a call has ended that has no answer.
    pub(crate) fn failed<E>(self, error: &E, classifier: &impl Classify<E>, now: u64) {
        let end = classify::contained(classifier, Err(error));
        let took = self.took(now);
        self.ended(&end, took, now);
    }

    /// How long the call has taken until then.
    fn took(&self, now: u64) -> Duration {
        Duration::from_nanos(now.saturating_sub(self.since))
    }

    /// The call has ended so `now`. What says nothing about the target is not counted.
    pub(super) fn ended(mut self, end: &CallEnd, took: Duration, now: u64) {
        let end = if end.is_success() {
            breaker::CallEnd::succeeded(took)
        } else if end.is_failure() {
            breaker::CallEnd::failed(took)
        } else {
            return;
        };
        let Some(permit) = self.permit.take() else {
            return;
        };
        let change = self
            .endpoint
            .with(|breaker| breaker.record(permit, end, now));
        if let Some(change) = change {
            let tally = &self.shared.tally;
            tally.changed(self.shared.name, &self.endpoint, change);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.endpoint.with(|breaker| breaker.abandon(permit));
        }
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pass").field(&self.endpoint).finish()
    }
}
