//! What becomes of a run that has ended, from how it ended and how many attempts are left.

use std::time::Duration;

use steadfast_core::decide::backoff::Backoff;

/// The first wait after a failure: 1 s. Most failures are a dependency that restarts.
pub const FIRST: Duration = Duration::from_secs(1);

/// The longest wait: one hour, so that the 20 attempts of a job last about a day.
pub const LONGEST: Duration = Duration::from_secs(60 * 60);

/// How a run ended, without its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The handler gave a result.
    Well,
    /// It failed, panicked, or its time was up.
    Failed,
    /// It failed, and says when the next attempt should follow.
    FailedUntil(Duration),
    /// It failed, and says that another attempt would not help.
    FailedForGood,
    /// It wants to be called again later.
    Snoozed(Duration),
    /// It was asked to stop, and did; or it stopped itself.
    Stopped,
    /// The process goes down.
    Shutdown,
    /// Somebody else has the job.
    Lost,
}

/// What to do with the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// It is done.
    Complete,
    /// Its attempts are spent.
    Discard,
    /// Another attempt after this wait.
    Retry(Duration),
    /// The same attempt after this wait.
    Snooze(Duration),
    /// The same attempt, by whoever comes first.
    Release,
    /// It ends without having been done.
    Stop,
    /// Nothing: what this node has to say does not count.
    Nothing,
}

/// The rule for a kind of job that has none of its own: from [`FIRST`] doubling to [`LONGEST`], with
/// full jitter, so that a hundred thousand jobs that failed together do not come back together.
pub fn usual() -> Backoff {
    Backoff::new(FIRST, LONGEST).expect("constants within the bounds")
}

/// Decides. `spent` are the attempts before this one, `random` 64 uniform bits.
pub fn follow(
    ended: Ended,
    spent: u32,
    max_attempts: u32,
    backoff: &Backoff,
    random: u64,
) -> Follow {
    let attempt = spent.saturating_add(1);
    let last = attempt >= max_attempts;
    match ended {
        Ended::Well => Follow::Complete,
        Ended::Failed | Ended::FailedUntil(_) if last => Follow::Discard,
        // Not at once: a wait of zero would be a loop around a call that fails at once.
        Ended::Failed => {
            Follow::Retry(backoff.delay(attempt, random).max(Duration::from_millis(1)))
        }
        Ended::FailedUntil(wait) => Follow::Retry(wait.max(Duration::from_millis(1))),
        Ended::FailedForGood => Follow::Discard,
        Ended::Snoozed(wait) => Follow::Snooze(wait.max(Duration::from_millis(1))),
        Ended::Stopped => Follow::Stop,
        Ended::Shutdown => Follow::Release,
        Ended::Lost => Follow::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(ended: Ended, spent: u32, max: u32) -> Follow {
        follow(ended, spent, max, &usual(), u64::MAX)
    }

    #[test]
    fn attempts_never_exceed_their_maximum() {
        for max in 1..=5 {
            let mut spent = 0;
            while let Follow::Retry(_) = after(Ended::Failed, spent, max) {
                spent += 1;
            }

            assert_eq!(spent + 1, max);
            assert_eq!(after(Ended::Failed, spent, max), Follow::Discard);
            assert_eq!(
                after(Ended::FailedUntil(FIRST), spent, max),
                Follow::Discard
            );
        }
    }

    #[test]
    fn waits_grow_to_the_longest() {
        let wait = |spent| match after(Ended::Failed, spent, 100) {
            Follow::Retry(wait) => wait.as_secs(),
            other => panic!("{other:?}"),
        };

        assert_eq!((0..4).map(wait).collect::<Vec<_>>(), [1, 2, 4, 8]);
        assert_eq!(wait(50), 3_600);
    }

    #[test]
    fn what_spends_no_attempt_goes_on_after_the_last_one() {
        assert_eq!(after(Ended::Snoozed(FIRST), 19, 20), Follow::Snooze(FIRST));
        assert_eq!(after(Ended::Shutdown, 19, 20), Follow::Release);
    }

    #[test]
    fn nothing_waits_for_zero() {
        let zero = Ended::FailedUntil(Duration::ZERO);

        assert_eq!(after(zero, 0, 20), Follow::Retry(Duration::from_millis(1)));
        assert_eq!(
            follow(Ended::Failed, 0, 20, &usual(), 0),
            Follow::Retry(Duration::from_millis(1))
        );
    }
}
