use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use steadfast_core::clock::{self, Alarm, Instant};
use steadfast_core::decide::timeout::Ended;

use super::shared::{Given, Shared};
use crate::{Reason, Rejection};

/// A call under way; tells how it ended also when it is dropped.
#[derive(Debug)]
pub(super) struct Call {
    shared: Arc<Shared>,
    given: Given,
    since: Instant,
    alarm: Alarm,
    over: bool,
}

impl Call {
    /// Begins a call; none if its deadline has passed.
    pub(super) fn begin(shared: &Arc<Shared>, deadline: Option<Instant>) -> Option<Self> {
        let since = clock::now();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(since));
        if left.is_some_and(|left| left.is_zero()) {
            return None;
        }
        let given = shared.begin(clock::nanos_at(since), left);
        Some(Self {
            shared: shared.clone(),
            alarm: Alarm::new(since + given.get()),
            given,
            since,
            over: false,
        })
    }

    /// Gives when its time is up.
    pub(super) fn ends_at(&self) -> Instant {
        self.alarm.at()
    }

    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.alarm.poll_over(cx)
    }

    /// The head of the response is there, or an error.
    pub(super) fn answered(&mut self, status: Option<StatusCode>) {
        self.over = true;
        // How long a failure takes says nothing about answers.
        if status.is_some_and(|status| !status.is_server_error()) {
            self.shared.ended(&self.given, Ended::Answered(self.took()));
        }
    }

    /// Its time is up.
    pub(super) fn cut(&mut self) -> Rejection {
        self.over = true;
        self.shared.cut.fetch_add(1, Ordering::Relaxed);
        let took = self.took();
        self.shared.ended(&self.given, Ended::Cut(took));
        let given = self.given.get();
        Rejection::new(Reason::TimedOut, self.shared.name).with_bound(
            given.as_secs_f64(),
            took.as_secs_f64(),
            "seconds",
        )
    }

    /// Gives how long it may take in all.
    pub(super) fn given(&self) -> Duration {
        self.given.get()
    }

    fn took(&self) -> Duration {
        clock::now().saturating_duration_since(self.since)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.over {
            self.shared.ended(&self.given, Ended::Cut(self.took()));
        }
    }
}
