use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use steadfast_core::clock::{self, Alarm, Instant};
use steadfast_core::context::Name;
use steadfast_core::decide::timeout::Ended;

use super::shared::{Given, Shared};
use crate::{Reason, Rejection};

/// A call under way; tells how it ended also when it is dropped.
#[derive(Debug)]
pub(super) struct Call {
    /// Absent where nothing but the deadline ends a call.
    governed: Option<Governed>,
    since: Instant,
    alarm: Option<Alarm>,
    over: bool,
}

#[derive(Debug)]
struct Governed {
    shared: Arc<Shared>,
    given: Given,
}

/// What rejects where only the deadline does.
const DEADLINE: Name = Name::new("deadline");

impl Call {
    /// Begins a call, or rejects it if its deadline has passed.
    pub(super) fn begin(
        shared: Option<Arc<Shared>>,
        deadline: Option<Instant>,
    ) -> Result<Self, Rejection> {
        let since = clock::now();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(since));
        if left.is_some_and(|left| left.is_zero()) {
            let policy = shared.map_or(DEADLINE, |shared| shared.name);
            return Err(Rejection::new(Reason::DeadlinePassed, policy));
        }
        let governed = shared.map(|shared| Governed {
            given: shared.begin(clock::nanos_at(since), left),
            shared,
        });
        let given = governed
            .as_ref()
            .map(|governed| governed.given.get())
            .or(left);
        Ok(Self {
            alarm: given.map(|given| Alarm::new(since + given)),
            governed,
            since,
            over: false,
        })
    }

    /// Gives when its time is up.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.alarm.as_ref().map(Alarm::at)
    }

    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.alarm {
            Some(alarm) => alarm.poll_over(cx),
            None => Poll::Pending,
        }
    }

    /// The head of the response is there, or an error.
    pub(super) fn answered(&mut self, status: Option<StatusCode>) {
        self.over = true;
        // How long a failure takes says nothing about answers.
        if status.is_some_and(|status| !status.is_server_error()) {
            self.ended(Ended::Answered(self.took()));
        }
    }

    /// Its time is up: gives how long it had, and the rejection.
    pub(super) fn cut(&mut self) -> (Duration, Rejection) {
        self.over = true;
        let took = self.took();
        self.ended(Ended::Cut(took));
        let (given, policy) = match &self.governed {
            Some(Governed { shared, given }) => {
                shared.cut.fetch_add(1, Ordering::Relaxed);
                (given.get(), shared.name)
            }
            None => (took, DEADLINE),
        };
        let mut rejection = Rejection::new(Reason::TimedOut, policy);
        if self.is_hurried(given) {
            rejection = rejection.hurried();
        }
        let (limit, observed) = (given.as_secs_f64(), took.as_secs_f64());
        (given, rejection.with_bound(limit, observed, "seconds"))
    }

    /// Tells whether the caller gave the call less than half of the time that is usual: then it says
    /// nothing about whoever was called.
    fn is_hurried(&self, given: Duration) -> bool {
        let governed = self.governed.as_ref();
        governed.is_some_and(|governed| given < governed.shared.usual() / 2)
    }

    fn took(&self) -> Duration {
        clock::now().saturating_duration_since(self.since)
    }

    fn ended(&self, ended: Ended) {
        if let Some(Governed { shared, given }) = &self.governed {
            shared.ended(given, ended);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.over {
            self.ended(Ended::Cut(self.took()));
        }
    }
}
