//! Who did what to which thing, when, and why.

use std::time::Duration;

use steadfast::Timestamp;
use steadfast::store::{Error, Row, Rows, Store, binds};
use steadfast::{clock, context, recover_async, spawn};
use tokio::sync::watch;

use super::auth::moment;
use super::problem::Problem;
use super::types;
use crate::sql;

/// The longest reason: 500 bytes, as that of a job.
pub(super) const REASON_BYTES_MAX: usize = 500;

/// How much of what was asked for is kept: 4 KiB.
const DETAIL_BYTES_MAX: usize = 4 * 1024;

/// How many actions are done at once: 64, four times as many as requests are let in, since an action goes on where
/// nobody waits for its answer any more.
const ACTIONS_MAX: usize = 64;

/// How long an action may take: 60 s, four times as long as its answer is waited for.
const ACTION_WITHIN: Duration = Duration::from_secs(60);

/// After how long nobody will say any more what became of an action: 5 min, more than it may take with its notes.
const UNTOLD_AFTER: Duration = Duration::from_secs(5 * 60);

/// How many entries one statement gives, and how many times it is asked for those that are wanted: 20 times 500.
const WINDOW: i64 = 500;
const WINDOWS: usize = 20;

/// What is told of one of which nobody can say what became of it.
const UNKNOWN: &str = "unknown: the process has ended, or could not note it; it was done, or a part of it, or nothing";

/// An action before it is done.
pub(crate) struct Entry {
    /// The name of whoever wants it.
    pub(crate) actor: String,
    pub(crate) action: &'static str,
    pub(crate) subject: String,
    pub(crate) reason: String,
    pub(crate) detail: String,
}

/// Does what is asked for, and keeps who has asked. A cheap clone.
#[derive(Clone)]
pub(crate) struct Audit {
    store: Store,
    /// How many actions are.
    under_way: watch::Sender<usize>,
}

impl Audit {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            under_way: watch::Sender::new(0),
        }
    }

    /// Does something, noted before it is done and completed after it: what cannot be noted is not done.
    ///
    /// # Cancel safety
    /// Once it is begun it goes on to its end, and that is noted.
    pub(crate) async fn done<T: Send + 'static>(
        &self,
        entry: Entry,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        check_reason(&entry.reason)?;
        let under_way = self.begin().ok_or_else(|| {
            Problem::busy(format!("{ACTIONS_MAX} actions are under way already"))
                .with_fix("wait until some have ended")
        })?;
        let store = self.store.clone();
        // Whoever has asked may leave at any time, and is no reason to do half of it.
        let action = spawn("an action of the API", async move {
            let _under_way = under_way;
            let id = put(&store, entry).await?;
            let done = clock::timeout(ACTION_WITHIN, recover_async(work)).await;
            let done = done.unwrap_or_else(|_| Ok(Err(given_up())));
            let outcome = match &done {
                Ok(Ok(_)) => "done".to_owned(),
                Ok(Err(problem)) => problem.line(),
                Err(panic) => Problem::internal(format!("it panicked: {}", panic.message())).line(),
            };
            if let Err(error) = end(&store, id, outcome).await {
                tracing::error!(target: "steadfast::api", audit = id, %error, "what became of an action was not noted");
            }
            match done {
                Ok(done) => done,
                Err(panic) => panic.resume(),
            }
        });
        action.await.unwrap_or_else(|error| match error.panic() {
            Some(panic) => panic.clone().resume(),
            None => Err(Problem::internal(format!("the action was {error}"))),
        })
    }

    /// Waits until no action is under way; others may begin meanwhile.
    pub(crate) async fn idle(&self) {
        // It is never closed: whoever waits has a sender.
        let _ = self
            .under_way
            .subscribe()
            .wait_for(|count| *count == 0)
            .await;
    }

    /// Counts one more action, if there may be one.
    fn begin(&self) -> Option<UnderWay> {
        let begun = self.under_way.send_if_modified(|count| {
            let has_room = *count < ACTIONS_MAX;
            *count += usize::from(has_room);
            has_room
        });
        begun.then(|| UnderWay(self.under_way.clone()))
    }
}

/// Counts an action as long as it is there.
struct UnderWay(watch::Sender<usize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Notes what was not done.
pub(super) async fn note(store: &Store, entry: Entry, outcome: String) -> Result<(), Error> {
    let id = put(store, entry).await?;
    end(store, id, outcome).await.map(drop)
}

async fn put(store: &Store, entry: Entry) -> Result<i64, Error> {
    let mut detail = entry.detail;
    let cut = (0..=DETAIL_BYTES_MAX.min(detail.len())).rev();
    let cut = cut.into_iter().find(|at| detail.is_char_boundary(*at));
    detail.truncate(cut.unwrap_or(0));
    let trace_id = context::current().trace_id().map(|id| id.to_string());
    let binds = binds![
        entry.actor,
        entry.action,
        entry.subject,
        entry.reason,
        detail.replace('\0', ""),
        trace_id
    ];
    store.run(&sql::AUDIT_PUT, binds).await?.one()?.get(0)
}

async fn end(store: &Store, id: i64, outcome: String) -> Result<Rows, Error> {
    store.run(&sql::AUDIT_END, binds![id, outcome]).await
}

fn given_up() -> Problem {
    let title = format!("it was given up after {ACTION_WITHIN:?}, and may be done in part");
    Problem::store(title).with_fix("look at what has become of it before you try again")
}

/// Refuses a reason that says nothing, or says it to a terminal; also where nothing is done, and so nothing noted.
pub(crate) fn check_reason(reason: &str) -> Result<(), Problem> {
    let is_read = !reason.trim().is_empty() && !reason.contains(char::is_control);
    if is_read && reason.len() <= REASON_BYTES_MAX {
        return Ok(());
    }
    let title = format!("a reason has 1 to {REASON_BYTES_MAX} bytes, and no control characters");
    Err(Problem::refused(title).with_fix("say why, in words that help whoever reads the audit"))
}

/// Which entries are listed.
#[derive(Debug, Default)]
pub(crate) struct Which {
    /// Of whom: the name of a token, or how the audit tells it.
    pub(crate) actor: Option<String>,
    /// What was done.
    pub(crate) action: Option<String>,
    /// From when on.
    pub(crate) since: Option<Timestamp>,
}

impl Which {
    fn is(&self, entry: &types::Audit) -> bool {
        let is_actor = |name: &String| {
            let rest = entry.actor.strip_prefix(name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" ("))
        };
        self.actor.as_ref().is_none_or(is_actor)
            && self
                .action
                .as_ref()
                .is_none_or(|action| *action == entry.action)
    }
}

/// Lists entries, the latest first, and gives where to go on. Of rare ones a page may be short and go on.
pub(crate) async fn list(
    store: &Store,
    mut before: i64,
    count: usize,
    which: &Which,
) -> Result<(Vec<types::Audit>, Option<i64>), Error> {
    let since_us = which
        .since
        .map_or(i64::MIN, |since| since.unix_millis().saturating_mul(1_000));
    let mut found = Vec::new();
    for _ in 0..WINDOWS {
        let rows = store.ask(&sql::AUDIT_LIST, binds![before, WINDOW]).await?;
        for row in &rows {
            if row.get::<i64>(1)? < since_us {
                return Ok((found, None));
            }
            before = row.get(0)?;
            found.extend(Some(entry(row)?).filter(|entry| which.is(entry)));
            if found.len() == count {
                return Ok((found, Some(before)));
            }
        }
        if (rows.len() as i64) < WINDOW {
            return Ok((found, None));
        }
    }
    Ok((found, Some(before)))
}

fn entry(row: &Row) -> Result<types::Audit, Error> {
    let outcome: Option<String> = row.get(8)?;
    let age_us: i64 = row.get(9)?;
    let is_untold = u128::from(age_us.max(0).unsigned_abs()) > UNTOLD_AFTER.as_micros();
    Ok(types::Audit {
        id: row.get(0)?,
        at: moment(row.get(1)?),
        actor: row.get(2)?,
        action: row.get(3)?,
        subject: row.get(4)?,
        reason: row.get(5)?,
        detail: row.get(6)?,
        trace_id: row.get(7)?,
        outcome: outcome.or_else(|| is_untold.then(|| UNKNOWN.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use steadfast::store::testing::{Database, Kind};

    use super::*;

    #[tokio::test]
    async fn of_more_actions_than_may_be_under_way_the_store_is_not_blamed() {
        let database = Database::make(Kind::Sqlite).await;
        let audit = Audit::new(&database.open().await);
        let entry = Entry {
            actor: "ann".into(),
            action: "jobs.cancel",
            subject: "job 1".into(),
            reason: "INC-7".into(),
            detail: String::new(),
        };

        let mut begun: Vec<_> = (0..ACTIONS_MAX).map(|_| audit.begin().unwrap()).collect();
        assert!(audit.begin().is_none());
        let refused = audit.done(entry, async { Ok(()) }).await.unwrap_err();
        assert_eq!(refused.line(), "SF-2215: 64 actions are under way already");
        begun.pop();
        assert!(audit.begin().is_some());
    }
}
