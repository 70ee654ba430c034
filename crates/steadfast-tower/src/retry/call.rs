use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use steadfast_core::context::Name;
use steadfast_core::decide::budget::{
    AttemptMark, Failed, Failure, Replay, RetryCall, RetryDecision, StopReason,
};
use steadfast_core::{clock, context, rng};

use super::settings::{Hooks, Plan, Shared};
use super::tally::Stop;
use crate::{CallEnd, attempt, replay};

/// One call, through all its attempts.
pub(super) struct Call {
    plan: Arc<Plan>,
    route: Option<Name>,
    target: u64,
    replay: Replay,
    known: RetryCall,
    /// The request came with a mark: somebody outside repeats this very request.
    is_marked: bool,
    /// Somebody outside repeats this request, or the one for which it is made.
    is_retried_outside: bool,
    attempt: u8,
}

impl Call {
    /// Reads what retries depend on off the request and the context.
    pub(super) fn of(request: &Parts, shared: &Shared, hooks: &Hooks) -> Self {
        let context = context::current();
        let marked = attempt::read(&request.headers);
        let mark = marked.or_else(|| context::propagated().and_then(|came| came.attempt));
        let plan = shared.plan();
        let replay = replay::of(request, plan.honors_keys, hooks.repeatable.as_ref());
        let mut known = RetryCall::new(replay);
        if let Some(deadline) = context.deadline() {
            known = known.with_deadline(clock::nanos_at(deadline));
        }
        if let Some(mark) = mark {
            known = known.with_mark(mark);
        }
        Self {
            plan,
            route: context.route(),
            target: shared.target_of(request, hooks),
            replay,
            known,
            is_marked: marked.is_some(),
            // By the mark of this very request, whatever it says: a layer outside that repeats it
            // only when it is unsent must not be multiplied either.
            is_retried_outside: marked.is_some()
                || mark.is_some_and(AttemptMark::is_retried_outside),
            attempt: 1,
        }
    }

    /// Tells whether there may be a second attempt, as far as is known before the first.
    pub(super) fn may_be_repeated(&self) -> bool {
        !self.is_retried_outside && self.plan.rule.max_attempts() > 1
    }

    /// Gives the mark of the present attempt; none where the request goes on as it came, so that a
    /// layer inside may retry what this one does not.
    pub(super) fn mark(&self) -> Option<AttemptMark> {
        let retried = self.is_retried_outside || self.plan.rule.max_attempts() > 1;
        let marks = retried && !self.is_marked;
        marks.then(|| self.plan.rule.mark(&self.known, self.attempt))
    }

    pub(super) fn attempt(&self) -> u8 {
        self.attempt
    }

    /// Takes how the present attempt has ended. Gives how long to wait before the next one, or
    /// `None` when its answer is the answer. What `hinders` another one is asked only then.
    pub(super) fn ended(
        &mut self,
        end: &CallEnd,
        hinders: impl FnOnce() -> Option<Stop>,
        shared: &Shared,
    ) -> Option<Duration> {
        let now = clock::nanos();
        let Some(failure) = end.failure() else {
            self.succeeded(shared, now);
            return None;
        };
        match self.decide(failure, end.retry_after(), hinders, shared, now) {
            Ok((wait, attempt)) => {
                self.attempt = attempt;
                shared.tally.retried(shared.name, attempt, end, wait, now);
                Some(wait)
            }
            Err(stop) => {
                let tally = &shared.tally;
                tally.stopped(shared.name, self.attempt, end, stop, now);
                None
            }
        }
    }

    fn succeeded(&self, shared: &Shared, now: u64) {
        if self.known.is_first() {
            let mut budgets = shared.budgets();
            budgets.count_success(self.route, self.target, now);
        }
        if self.attempt > 1 {
            shared.tally.repaired();
        }
    }

    fn decide(
        &self,
        failure: Failure,
        retry_after: Option<Duration>,
        hinders: impl FnOnce() -> Option<Stop>,
        shared: &Shared,
        now: u64,
    ) -> Result<(Duration, u8), Stop> {
        if failure != Failure::Permanent && self.is_retried_outside {
            return Err(Stop::Decided(StopReason::RetriedOutside));
        }
        let mut failed = Failed::new(self.attempt, failure);
        if let Some(after) = retry_after {
            failed = failed.with_retry_after(after);
        }
        let Plan { rule, backoff, .. } = &*self.plan;
        let may = failure != Failure::Permanent
            && self.attempt < rule.max_attempts()
            && rule.may_repeat(self.replay, failure);
        if let Some(stop) = may.then(hinders).flatten() {
            return Err(stop);
        }
        let drawn = backoff.delay(u32::from(self.attempt), rng::bits());
        let decision = shared
            .budgets()
            .paying(self.route, self.target, now, |budgets| {
                rule.decide(&self.known, &failed, drawn, now, budgets)
            });
        match decision {
            RetryDecision::Retry { after, attempt } => Ok((after, attempt)),
            RetryDecision::Stop(reason) => Err(Stop::Decided(reason)),
        }
    }
}
