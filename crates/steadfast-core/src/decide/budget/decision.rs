//! Whether one failed attempt is followed by another.

use std::time::Duration;

use super::mark::AttemptMark;
use super::share::RetryBudget;

/// Decides whether and when a failed call is tried again.
///
/// The defaults are bounds with a reason: a `Retry-After` of up to
/// [`DEFAULT_RETRY_AFTER_CAP`](Self::DEFAULT_RETRY_AFTER_CAP) is waited for, and only calls that
/// are [safe to repeat](Replay) are.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use std::time::Duration;
/// use steadfast::decide::budget::{
///     Failed, Failure, Replay, RetryBudget, RetryCall, RetryDecision, RetryRule,
/// };
///
/// let rule = RetryRule::new(3)?;
/// let call = RetryCall::new(Replay::of_method("GET", false));
/// let (mut route, mut target) = (RetryBudget::new(0.1)?, RetryBudget::new(0.1)?);
/// route.count_success(0);
/// target.count_success(0);
///
/// let failed = Failed::new(1, Failure::Unknown);
/// let drawn = Duration::from_millis(40); // by a `Backoff` with full jitter
/// let decision = rule.decide(&call, &failed, drawn, 1_000_000, &mut [&mut route, &mut target]);
///
/// assert_eq!(decision, RetryDecision::Retry { after: drawn, attempt: 2 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryRule {
    max_attempts: u8,
    retry_after_cap: Duration,
    opted_in: bool,
}

/// Describes a call as far as its retries depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryCall {
    replay: Replay,
    deadline: Option<u64>,
    usual_ns: u64,
    mark: Option<AttemptMark>,
}

/// Says whether sending a call twice has the effect of sending it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replay {
    /// By definition of its method, or because the target tells repeats by an idempotency key.
    Safe,
    /// Not known: only failures that are [proven unsent](Failure::Unsent) may be repeated, unless
    /// the [rule opted in](RetryRule::with_unsafe_methods).
    Unsafe,
    /// The call cannot be sent again at all, for example because its body is gone.
    Impossible,
}

/// Describes a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    attempt: u8,
    failure: Failure,
    retry_after: Option<Duration>,
}

/// Says what is known about an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The target has proven not to have begun: the connection was refused, the stream was
    /// rejected before its processing, or an admission said no. It may be repeated whatever it is.
    Unsent,
    /// It may have taken effect: a timeout, a broken connection, a 502, 503 or 504 without more.
    Unknown,
    /// It would fail again: a 400, a 404, an error of the type system.
    Permanent,
}

/// Says when to try again, or why not to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// Try again; the budgets are charged.
    Retry {
        /// How long to wait first.
        after: Duration,
        /// The number of that attempt, counted from 1.
        attempt: u8,
    },
    /// Give the failure to the caller; no budget is charged.
    Stop(StopReason),
}

/// Says why a failed call is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// It would fail again.
    Permanent,
    /// Somebody outside retries this call.
    RetriedOutside,
    /// All attempts are made.
    AttemptsSpent,
    /// It may have taken effect and is not known to be safe to repeat, or cannot be sent again.
    NotReplayable,
    /// The target asked to wait longer than the cap.
    RetryAfterTooLong,
    /// It could not end before the deadline.
    Deadline,
    /// Too many calls are being retried already.
    BudgetSpent,
}

/// Refuses a [`RetryRule`] whose numbers are out of range.
///
/// The message names the bound. Trying again with the same numbers fails again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidRetryRule(#[from] Refusal);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("{0} attempts are not from 1 to {most}", most = RetryRule::MAX_ATTEMPTS)]
    Attempts(u8),
    #[error(
        "cap of {0:?} on retry-after is over the bound of {bound:?}",
        bound = RetryRule::LONGEST_RETRY_AFTER_CAP
    )]
    RetryAfterCap(Duration),
}

// === impl RetryRule ===

impl RetryRule {
    /// The most attempts of a call, the first included: 10.
    ///
    /// What fails ten times in a row does not fail by chance.
    pub const MAX_ATTEMPTS: u8 = 10;

    /// The longest `Retry-After` that is waited for, unless set: 5 seconds.
    ///
    /// A call that waits keeps its caller, its memory and its place in a batch; beyond a few
    /// seconds the caller can decide better than we can whether it is still worth it.
    pub const DEFAULT_RETRY_AFTER_CAP: Duration = Duration::from_secs(5);

    /// The longest cap on `Retry-After`: 5 minutes. What must wait longer is a job.
    pub const LONGEST_RETRY_AFTER_CAP: Duration = Duration::from_secs(5 * 60);

    /// Makes a rule with up to `max_attempts` attempts, the first included; 1 never retries.
    ///
    /// # Errors
    ///
    /// [`InvalidRetryRule`] unless it is from 1 to [`MAX_ATTEMPTS`](Self::MAX_ATTEMPTS).
    pub fn new(max_attempts: u8) -> Result<Self, InvalidRetryRule> {
        if !(1..=Self::MAX_ATTEMPTS).contains(&max_attempts) {
            return Err(Refusal::Attempts(max_attempts).into());
        }
        Ok(Self {
            max_attempts,
            retry_after_cap: Self::DEFAULT_RETRY_AFTER_CAP,
            opted_in: false,
        })
    }

    /// Sets the longest `Retry-After` that is waited for.
    ///
    /// A longer one stops the call, as coming earlier than asked is what made it be asked.
    ///
    /// # Errors
    ///
    /// [`InvalidRetryRule`] if it is over
    /// [`LONGEST_RETRY_AFTER_CAP`](Self::LONGEST_RETRY_AFTER_CAP).
    pub fn with_retry_after_cap(mut self, cap: Duration) -> Result<Self, InvalidRetryRule> {
        if cap > Self::LONGEST_RETRY_AFTER_CAP {
            return Err(Refusal::RetryAfterCap(cap).into());
        }
        self.retry_after_cap = cap;
        Ok(self)
    }

    /// Repeats calls that are not known to be safe, too.
    ///
    /// The explicit word of somebody who knows that the target tells repeats by other means. With
    /// it, a lost answer may mean that something happens twice.
    #[must_use]
    pub fn with_unsafe_methods(mut self) -> Self {
        self.opted_in = true;
        self
    }

    /// Returns the most attempts of a call, the first included.
    #[must_use]
    pub fn max_attempts(&self) -> u8 {
        self.max_attempts
    }

    /// Returns the mark to send with an attempt, counted from 1.
    ///
    /// The mark that the call came with, if somebody outside retries; ours otherwise. A call that
    /// is repeated only if it was proven unsent is `1/1`: it reaches its target at most once, so
    /// the target may retry what it calls itself.
    #[must_use]
    pub fn mark(&self, call: &RetryCall, attempt: u8) -> AttemptMark {
        let outside = call.mark.filter(|mark| mark.is_retried_outside());
        let of = if self.may_repeat(call.replay, Failure::Unknown) {
            self.max_attempts
        } else {
            1
        };
        outside
            .or_else(|| AttemptMark::new(attempt.clamp(1, of), of))
            .expect("at least one attempt, and the attempt is within them")
    }

    /// Says whether a call that failed so may be sent again, as far as its effect is concerned.
    #[must_use]
    pub fn may_repeat(&self, replay: Replay, failure: Failure) -> bool {
        match replay {
            Replay::Safe => true,
            Replay::Unsafe => failure == Failure::Unsent || self.opted_in,
            Replay::Impossible => false,
        }
    }

    /// Decides about a failed attempt at `now`, and charges the budgets if it is followed by
    /// another.
    ///
    /// `delay` is the wait drawn for this attempt, by a backoff with full jitter. With several
    /// budgets, such as the route's and the target's, each is charged or none; without any, nothing
    /// is retried.
    #[must_use]
    pub fn decide(
        &self,
        call: &RetryCall,
        failed: &Failed,
        delay: Duration,
        now: u64,
        budgets: &mut [&mut RetryBudget],
    ) -> RetryDecision {
        let after = match self.wait(call, failed, delay, now) {
            Ok(after) => after,
            Err(reason) => return RetryDecision::Stop(reason),
        };
        if !RetryBudget::take_all(budgets, now) {
            return RetryDecision::Stop(StopReason::BudgetSpent);
        }
        RetryDecision::Retry {
            after,
            attempt: failed.attempt + 1,
        }
    }

    /// Goes through all reasons but the budget.
    fn wait(
        &self,
        call: &RetryCall,
        failed: &Failed,
        delay: Duration,
        now: u64,
    ) -> Result<Duration, StopReason> {
        if failed.failure == Failure::Permanent {
            return Err(StopReason::Permanent);
        }
        if call.mark.is_some_and(AttemptMark::is_retried_outside) {
            return Err(StopReason::RetriedOutside);
        }
        if failed.attempt >= self.max_attempts {
            return Err(StopReason::AttemptsSpent);
        }
        if !self.may_repeat(call.replay, failed.failure) {
            return Err(StopReason::NotReplayable);
        }
        let asked = failed.retry_after.unwrap_or_default();
        if asked > self.retry_after_cap {
            return Err(StopReason::RetryAfterTooLong);
        }
        let after = asked.saturating_add(delay);
        if !call.leaves_time(after, now) {
            return Err(StopReason::Deadline);
        }
        Ok(after)
    }
}

// === impl RetryCall ===

impl RetryCall {
    /// Describes a call without deadline and mark.
    #[must_use]
    pub fn new(replay: Replay) -> Self {
        Self {
            replay,
            deadline: None,
            usual_ns: 0,
            mark: None,
        }
    }

    /// Sets the instant after which nobody waits for an answer.
    #[must_use]
    pub fn with_deadline(mut self, deadline: u64) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets how long an attempt usually takes, such as the live median; zero unless set.
    ///
    /// A retry that would have less than this until the deadline is not made: it is load and no
    /// hope.
    #[must_use]
    pub fn with_usual_time(mut self, usual: Duration) -> Self {
        self.usual_ns = saturating_nanos(usual);
        self
    }

    /// Sets the mark that the call came with.
    #[must_use]
    pub fn with_mark(mut self, mark: AttemptMark) -> Self {
        self.mark = Some(mark);
        self
    }

    /// Says whether the call is new, and no retry of somebody outside; only then does it
    /// [pay into a budget](RetryBudget::count_success).
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.mark.is_none_or(|mark| mark.attempt() == 1)
    }

    fn leaves_time(&self, after: Duration, now: u64) -> bool {
        let needed = saturating_nanos(after).saturating_add(self.usual_ns);
        self.deadline
            .is_none_or(|deadline| needed < deadline.saturating_sub(now))
    }
}

// === impl Replay ===

impl Replay {
    /// Judges an HTTP method, written as in the request, and whether the request carries an
    /// `Idempotency-Key`.
    ///
    /// Safe by definition (RFC 9110) are GET, HEAD, OPTIONS, TRACE, PUT and DELETE. A method
    /// that is not known is not safe.
    #[must_use]
    pub fn of_method(method: &str, has_idempotency_key: bool) -> Self {
        let idempotent = matches!(
            method,
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
        );
        if idempotent || has_idempotency_key {
            Self::Safe
        } else {
            Self::Unsafe
        }
    }
}

// === impl Failed ===

impl Failed {
    /// Describes how an attempt, counted from 1, has failed.
    #[must_use]
    pub fn new(attempt: u8, failure: Failure) -> Self {
        Self {
            attempt,
            failure,
            retry_after: None,
        }
    }

    /// Sets how long the target asked to wait.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }
}

fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
