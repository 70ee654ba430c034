//! One run: its scope, its context, and what becomes of the job.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use steadfast_core::context::{self, Context, TraceId};
use steadfast_core::{BoxError, Cause, ScopeError, rng, scope, spawn};
use tokio::sync::mpsc;

use super::kind::{UNREADABLE_WAIT, Unreadable};
use super::run::{Inner, settled};
use super::{Kind, Run};
use crate::decide::retry::{self, Ended, Follow};
use crate::job::{DEPTH_MAX, depth};
use crate::{JobId, end};

/// How much of an error is kept with a job: 4 KiB, enough for a chain of causes.
const ERROR_BYTES_MAX: usize = 4 * 1024;

/// The largest result that is kept: 64 KiB. What is larger belongs into a table of its own.
pub(crate) const RESULT_BYTES_MAX: usize = 64 * 1024;

/// The name that a job cancelled from outside is stopped by.
pub(crate) const CANCELLED_BY: &str = "job cancelled";

/// A run that has ended, on its way to the store.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) id: i64,
    pub(crate) term: i64,
    /// Empty for a job that was not started.
    pub(crate) kind: &'static str,
    pub(crate) attempt: u32,
    /// That of the run, in which its end is told.
    pub(crate) context: Context,
    pub(crate) follow: Follow,
    /// Why it failed, or why the result was not kept.
    pub(crate) error: Option<String>,
    pub(crate) result: Option<String>,
    /// As in [`settled`].
    pub(crate) settled: u8,
    /// How often the store was to be told, and found the row of the job locked.
    pub(crate) locked: u32,
}

/// Gives the context of a run: with the trace of whoever enqueued its job, or else one of its own.
pub(crate) fn context_of(id: JobId, attempt: u32, trace_id: Option<&str>) -> Context {
    let trace_id = trace_id.and_then(|id| id.parse::<TraceId>().ok());
    Context::new()
        .with_job(id.get(), attempt)
        .with_trace_id(trace_id.unwrap_or_else(TraceId::random))
}

/// Starts the handler in a task of its own; its end comes through `to`, whatever happens.
pub(crate) fn start(
    kind: Arc<Kind>,
    run: Run,
    payload: String,
    to: mpsc::UnboundedSender<Finished>,
) {
    let block = run.0.context;
    let name = kind.name;
    let told = Told {
        run,
        kind: name,
        to: Some(to),
    };
    block.run(|| {
        spawn(name, async move {
            // Eight keys fit, and none is taken yet.
            let _ = context::put("term", &told.run.term().to_string());
            let ended = execute(&kind, &told.run, &payload).await;
            told.tell(&kind, ended);
        })
    });
}

/// Tells the end of a run, also when its task is dropped.
struct Told {
    run: Run,
    kind: &'static str,
    to: Option<mpsc::UnboundedSender<Finished>>,
}

impl Told {
    fn tell(mut self, kind: &Kind, (ended, error, result): Ending) {
        let Inner {
            spent,
            max_attempts,
            ..
        } = *self.run.0;
        let follow = retry::follow(ended, spent, max_attempts, &kind.backoff, rng::bits());
        self.send(follow, error, result);
    }

    fn send(&mut self, follow: Follow, error: Option<String>, result: Option<String>) {
        let Some(to) = self.to.take() else {
            return;
        };
        self.run.0.alone.leave();
        // Nobody receives any more once the worker has ended, and the lease takes care of the job.
        let _ = to.send(Finished {
            id: self.run.0.id.0,
            term: self.run.0.term,
            kind: self.kind,
            attempt: self.run.attempt(),
            context: self.run.0.context,
            follow,
            error,
            result,
            settled: self.run.0.settled.load(Ordering::Acquire),
            locked: 0,
        });
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.send(Follow::Release, None, None);
    }
}

type Ending = (Ended, Option<String>, Option<String>);

async fn execute(kind: &Kind, run: &Run, payload: &str) -> Ending {
    let ended = scope(kind.name)
        .timeout(run.0.longest)
        .cancel_on(&run.0.cancel)
        .cleanup_limit(kind.cleanup_limit)
        .run(async |body| kind.handle(run.clone(), body, payload).await)
        .await;
    match judge(ended) {
        // That of another run, perhaps: what becomes of this one the store knows.
        (Ended::Lost, error, result) if !run.0.lost.is_cancelled() => {
            (Ended::Failed, error, result)
        }
        ending => ending,
    }
}

fn judge(ended: Result<Option<String>, ScopeError<BoxError>>) -> Ending {
    match ended {
        // It is done, and running it again would not make its result another.
        Ok(Some(result)) => match unfit(&result) {
            Some(why) => (Ended::Well, Some(format!("{why}, and was not kept")), None),
            None => (Ended::Well, None, Some(result)),
        },
        Ok(None) => (Ended::Well, None, None),
        Err(ScopeError::Failed(error)) => judge_error(error),
        Err(ScopeError::Panicked(panic)) => {
            let place = panic.location().map(|place| place.to_string());
            let place = place.unwrap_or_else(|| "an unknown place".into());
            let text = format!("panicked at {place}: {}", panic.message());
            (Ended::Failed, Some(bounded(text)), None)
        }
        Err(ScopeError::Cancelled(cause)) => judge_cause(&cause),
    }
}

/// Tells why a result cannot be kept: the store would refuse it, and with it the ends of other jobs.
pub(crate) fn unfit(result: &str) -> Option<String> {
    if result.len() > RESULT_BYTES_MAX {
        return Some(format!(
            "its result of {} bytes is over the bound of {RESULT_BYTES_MAX}",
            result.len()
        ));
    }
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(result) {
        return Some(format!("its result is not JSON: {error}"));
    }
    let depth = depth(result);
    (depth > DEPTH_MAX)
        .then(|| format!("its result is {depth} deep, over the bound of {DEPTH_MAX}"))
}

fn judge_error(error: BoxError) -> Ending {
    let error = match error.downcast::<end::End>() {
        Ok(end) => return judge_end(end.0),
        Err(error) => error,
    };
    let text = Some(bounded(chain(error.as_ref())));
    if error.is::<Unreadable>() {
        return (Ended::Snoozed(UNREADABLE_WAIT), text, None);
    }
    let lost = error
        .downcast_ref::<crate::Error>()
        .is_some_and(crate::Error::is_lease_lost);
    let ended = if lost { Ended::Lost } else { Ended::Failed };
    (ended, text, None)
}

fn judge_end(kind: end::Kind) -> Ending {
    match kind {
        end::Kind::Snooze(wait, why) => {
            let text = why.map(|error| bounded(chain(error.as_ref())));
            (Ended::Snoozed(bounded_wait(wait)), text, None)
        }
        end::Kind::RetryAfter(wait, error) => {
            let text = bounded(chain(error.as_ref()));
            (Ended::FailedUntil(bounded_wait(wait)), Some(text), None)
        }
        end::Kind::Discard(error) => {
            let text = bounded(chain(error.as_ref()));
            (Ended::FailedForGood, Some(text), None)
        }
        end::Kind::Cancel(reason) => (Ended::Stopped, Some(bounded(reason)), None),
    }
}

fn judge_cause(cause: &Cause) -> Ending {
    match cause {
        Cause::LeaseLost => (Ended::Lost, None, None),
        Cause::Shutdown => (Ended::Shutdown, None, None),
        Cause::Requested(by) if by.as_str() == CANCELLED_BY => (Ended::Stopped, None, None),
        cause => (Ended::Failed, Some(bounded(cause.to_string())), None),
    }
}

fn bounded_wait(wait: Duration) -> Duration {
    wait.min(crate::WAIT_MAX)
}

/// Writes an error with its causes, as `outer: inner: innermost`.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        if text.len() > ERROR_BYTES_MAX {
            break;
        }
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    text
}

/// Cuts a text to [`ERROR_BYTES_MAX`], and takes out what moves a cursor where it is shown: an error says what somebody else has
/// said, and goes into a log. PostgreSQL could not keep one of these characters at all.
pub(crate) fn bounded(mut text: String) -> String {
    let moves = |char: char| char.is_control() && !matches!(char, '\n' | '\t');
    if text.contains(moves) {
        text = text.replace(moves, "\u{fffd}");
    }
    if text.len() > ERROR_BYTES_MAX {
        let cut = (0..=ERROR_BYTES_MAX)
            .rev()
            .find(|at| text.is_char_boundary(*at));
        text.truncate(cut.unwrap_or(0));
    }
    text
}

/// What [`settled`] says of a run that its handler has completed.
pub(crate) fn is_settled(finished: &Finished) -> bool {
    finished.settled == settled::YES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_within_its_bound_whatever_stands_for_what_is_taken_out() {
        let text = bounded("\0".repeat(ERROR_BYTES_MAX));

        assert!(text.len() <= ERROR_BYTES_MAX, "{}", text.len());
        assert!(text.chars().all(|char| char == '\u{fffd}'));
        assert_eq!(bounded("as it is".into()), "as it is");
    }
}
