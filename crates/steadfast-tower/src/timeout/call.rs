use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use steadfast_core::clock::{self, Alarm, Instant};
use steadfast_core::context::Name;
use steadfast_core::decide::timeout::Ended;

use super::shared::{Given, Shared};
use crate::guard::{Attempt, AttemptEnd};
use crate::{Reason, Rejection, deadline};

/// A call under way; tells how it ended also when it is dropped.
#[derive(Debug)]
pub(crate) struct Call {
    /// Absent where nothing but the deadline ends a call.
    governed: Option<Governed>,
    since: Instant,
    alarm: Option<Alarm>,
    /// When it would have been cut off by a policy that only looks on.
    shadow: Option<Alarm>,
    /// Absent where nobody counts attempts, and once it is counted.
    attempt: Option<Attempt>,
    /// Inner code is at work: what is dropped now is dropped by its panic.
    at_work: bool,
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
    /// Begins a call at that time, or rejects it if its deadline has passed.
    pub(crate) fn begin(
        shared: Option<Arc<Shared>>,
        deadline: Option<Instant>,
        attempt: Option<Attempt>,
        since: Instant,
    ) -> Result<Self, Rejection> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(since));
        if let Some(late) = deadline.and_then(|deadline| since.checked_duration_since(deadline)) {
            let policy = shared.map_or(DEADLINE, |shared| shared.name);
            return Err(deadline::late_by(late, policy));
        }
        let cannot_finish = match (&shared, left) {
            // One that only looks on has told it where it was asked first.
            (Some(shared), Some(left)) if !shared.is_shadow() => {
                shared.cannot_finish(left, clock::nanos_at(since))
            }
            _ => None,
        };
        if let Some(rejection) = cannot_finish {
            return Err(rejection);
        }
        let looks_on = shared.as_ref().is_some_and(|shared| shared.is_shadow());
        let governed = shared.map(|shared| Governed {
            given: shared.begin(since, left),
            shared,
        });
        let given = governed.as_ref().map(|governed| governed.given.get());
        // One that only looks on leaves the deadline, which is not its own.
        let (acts, shadow) = match looks_on {
            true => (left, given),
            false => (given.or(left), None),
        };
        let alarm = |time: Option<Duration>| time.map(|time| Alarm::new(since + time));
        Ok(Self {
            alarm: alarm(acts),
            shadow: alarm(shadow.filter(|given| acts.is_none_or(|acts| *given < acts))),
            governed,
            since,
            attempt,
            at_work: false,
            over: false,
        })
    }

    /// Gives when its time is up.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.alarm.as_ref().map(Alarm::at)
    }

    /// Runs inner code, so that a panic of it is known as one.
    pub(super) fn work<R>(&mut self, f: impl FnOnce() -> R) -> R {
        self.at_work = true;
        let worked = f();
        self.at_work = false;
        worked
    }

    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(alarm) = &mut self.alarm
            && alarm.poll_over(cx).is_ready()
        {
            return Poll::Ready(());
        }
        if let Some(shadow) = &mut self.shadow
            && shadow.poll_over(cx).is_ready()
        {
            self.would_be_cut();
        }
        Poll::Pending
    }

    /// The head of the response is there `now`, or an error.
    pub(super) fn answered(&mut self, status: Option<StatusCode>, now: Instant) {
        self.over = true;
        // How long a failure takes says nothing about answers.
        let is_learned = status.is_some_and(|status| !status.is_server_error());
        if !is_learned && self.attempt.is_none() {
            return;
        }
        let took = self.took(now);
        if is_learned {
            self.ended(Ended::Answered(took));
        }
        self.count(
            status.map_or(AttemptEnd::Failed, AttemptEnd::Answered),
            took,
        );
    }

    /// The answer has begun, and what follows has no end that could be waited for.
    pub(super) fn streams(&mut self, status: StatusCode, now: Instant) {
        self.over = true;
        self.count(AttemptEnd::Answered(status), self.took(now));
    }

    /// Its time is up: gives how long it had, and the rejection.
    pub(super) fn cut(&mut self) -> (Duration, Rejection) {
        self.over = true;
        let took = self.took(clock::now());
        self.ended(Ended::Cut(took));
        self.count(AttemptEnd::TimedOut, took);
        let (given, policy) = match &self.governed {
            Some(Governed { shared, given }) if !shared.is_shadow() => {
                shared.cut.fetch_add(1, Ordering::Relaxed);
                (given.get(), shared.name)
            }
            _ => (took, DEADLINE),
        };
        let mut rejection = timed_out(policy, given, took);
        if self.is_hurried(given) {
            rejection = rejection.hurried();
        }
        (given, rejection)
    }

    /// Tells that it would have been cut off, and goes on; what it takes from now on is not learned.
    fn would_be_cut(&mut self) {
        self.shadow = None;
        let took = self.took(clock::now());
        let Some(Governed { shared, given }) = &self.governed else {
            return;
        };
        shared.ended(given, Ended::Cut(took), self.since + took);
        timed_out(shared.name, given.get(), took).count_shadow();
        self.governed = None;
    }

    /// Tells whether the caller gave the call less than half of the time that is usual: then it says
    /// nothing about whoever was called.
    fn is_hurried(&self, given: Duration) -> bool {
        let governed = self.governed.as_ref();
        governed.is_some_and(|governed| given < governed.shared.usual() / 2)
    }

    /// Counts the attempt, where somebody does.
    fn count(&mut self, ended: AttemptEnd, took: Duration) {
        if let Some(attempt) = self.attempt.take() {
            attempt.ended(ended, took);
        }
    }

    fn took(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    fn ended(&self, ended: Ended) {
        if let Some(Governed { shared, given }) = &self.governed {
            let (Ended::Answered(took) | Ended::Cut(took)) = ended;
            shared.ended(given, ended, self.since + took);
        }
    }
}

fn timed_out(policy: Name, given: Duration, took: Duration) -> Rejection {
    let (limit, observed) = (given.as_secs_f64(), took.as_secs_f64());
    Rejection::new(Reason::TimedOut, policy).with_bound(limit, observed, "seconds")
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.over {
            let took = self.took(clock::now());
            self.ended(Ended::Cut(took));
            let ended = match self.at_work {
                true => AttemptEnd::Panicked,
                false => AttemptEnd::Dropped,
            };
            self.count(ended, took);
        }
    }
}
