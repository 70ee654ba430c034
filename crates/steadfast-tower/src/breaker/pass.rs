use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use steadfast_core::clock;
use steadfast_core::decide::breaker::{self, Permit};

use super::endpoint::Endpoint;
use super::shared::Shared;
use crate::CallEnd;

/// The right to make one call; what is dropped has shown nothing, and gives it back.
pub(super) struct Pass {
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

    /// How long the call has taken.
    pub(super) fn took(&self) -> Duration {
        Duration::from_nanos(clock::nanos().saturating_sub(self.since))
    }

    /// The call has ended so. What says nothing about the target is not counted.
    pub(super) fn ended(mut self, end: &CallEnd, took: Duration) {
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
        let now = clock::nanos();
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
