//! Runs whose program could not be begun: nothing was done, so they spend no attempt for a while.
//!
//! A folder is on a disk that is mounted later, a program is just being replaced, the machine has no process left. A line of a
//! crontab has one attempt, and its due run would be lost by that. What is missing for good is seen all the same: the job waits
//! with the reason, the log says it each minute, and in the end the attempt is spent.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast::BoxError;
use steadfast::clock::{self, Instant};
use steadfast::jobs::end;
use tokio::sync::watch;

/// For how long it costs a job no attempt that its program cannot be begun: 1 h.
const FREE_FOR: Duration = Duration::from_secs(3_600);

/// The waits: as long again as it has waited, and no less and no more than these.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_LONGEST: Duration = Duration::from_secs(60);

/// How long it is remembered of a job that it could not be begun: 10 min. One that has not come again by then is with another
/// server, or over.
const KNOWN_FOR: Duration = Duration::from_secs(600);

/// How far apart lines about it are: a minute, however many jobs wait.
const TOLD_APART: Duration = Duration::from_secs(60);

/// Those of one handler.
#[derive(Debug, Default)]
pub(super) struct Unbegun(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Since when it could not be begun, and when that was seen last.
    jobs: BTreeMap<u64, (Instant, Instant)>,
    told: Option<Instant>,
    /// One that could not even be killed.
    hangs: Option<watch::Receiver<Option<ExitStatus>>>,
}

impl Unbegun {
    /// Says how a run ends whose program was not begun.
    pub(super) fn put_off(&self, kind: &str, job: u64, why: BoxError) -> BoxError {
        let now = clock::now();
        let mut state = self.state();
        state.jobs.retain(|_, (_, seen)| now - *seen < KNOWN_FOR);
        let (since, seen) = state.jobs.entry(job).or_insert((now, now));
        *seen = now;
        let waited = now - *since;
        if waited >= FREE_FOR {
            state.jobs.remove(&job);
            return why;
        }
        let wait = waited.clamp(WAIT_FIRST, WAIT_LONGEST);
        if state.told.is_none_or(|told| now - told >= TOLD_APART) {
            state.told = Some(now);
            tracing::warn!(
                target: "steadfast::serve",
                kind,
                job,
                error = &*why as &(dyn std::error::Error + 'static),
                wait_s = wait.as_secs_f64(),
                fix = "put right what the error names; each run looks again, and for an hour spends no attempt",
                "a program cannot be begun; its jobs wait"
            );
        }
        end::snooze_because(wait, why)
    }

    /// Refuses to start another one while there is one that hangs: there would be more and more of them.
    pub(super) fn check(&self) -> Result<(), BoxError> {
        let mut state = self.state();
        state.hangs = state
            .hangs
            .take()
            .filter(|status| status.borrow().is_none());
        match state.hangs {
            Some(_) => {
                Err("the one that was started before hangs, and cannot even be killed".into())
            }
            None => Ok(()),
        }
    }

    /// Notes that one may hang in the kernel: it was killed, and is not dead yet.
    pub(super) fn hangs(&self, status: watch::Receiver<Option<ExitStatus>>) {
        self.state().hangs = Some(status);
    }

    /// Notes that one was begun.
    pub(super) fn begun(&self, job: u64) {
        let mut state = self.state();
        if state.jobs.remove(&job).is_some() {
            state.told = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_and_in_the_end_the_attempt_is_spent() {
        let unbegun = Unbegun::default();
        let begun = clock::now();
        let mut waits = Vec::new();
        let spent = loop {
            let ended = unbegun.put_off("backup", 4711, "no such folder".into());
            let told = ended.to_string();
            let Some(wait) = told.strip_prefix("snoozed for ") else {
                break told;
            };
            let wait = steadfast::settings::duration(wait).unwrap();
            waits.push(wait.as_secs());
            clock::sleep(wait).await;
        };

        assert_eq!(spent, "no such folder");
        assert_eq!(waits[..8], [1, 1, 2, 4, 8, 16, 32, 60]);
        let took = clock::now() - begun;
        assert!(
            (FREE_FOR..FREE_FOR + WAIT_LONGEST).contains(&took),
            "{took:?}"
        );

        // The next attempt of it has its hour again.
        let again = unbegun.put_off("backup", 4711, "no such folder".into());
        assert_eq!(again.to_string(), "snoozed for 1s");
        clock::sleep(Duration::from_secs(30)).await;
        unbegun.begun(4711);
        let again = unbegun.put_off("backup", 4711, "no such folder".into());
        assert_eq!(again.to_string(), "snoozed for 1s");
    }
}
