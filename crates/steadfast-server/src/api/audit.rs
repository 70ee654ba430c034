//! Who did what to which thing, when, and why.

use steadfast::context;
use steadfast::store::{Error, Store, binds};

use super::auth::{Actor, moment};
use super::problem::Problem;
use super::types;
use crate::sql;

/// The longest reason: 500 bytes, as that of a job.
pub(super) const REASON_BYTES_MAX: usize = 500;

/// How much of what was asked for is kept: 4 KiB.
const DETAIL_BYTES_MAX: usize = 4 * 1024;

/// An action before it is done.
pub(crate) struct Entry<'a> {
    pub(crate) actor: &'a Actor,
    pub(crate) action: &'static str,
    pub(crate) subject: String,
    pub(crate) reason: &'a str,
    pub(crate) detail: String,
}

/// Does something, noted before it is done and completed after it: what cannot be noted is not done.
pub(crate) async fn audited<T>(
    store: &Store,
    entry: Entry<'_>,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let Entry {
        actor,
        action,
        subject,
        reason,
        mut detail,
    } = entry;
    check_reason(reason)?;
    let cut = (0..=DETAIL_BYTES_MAX.min(detail.len())).rev();
    let cut = cut.into_iter().find(|at| detail.is_char_boundary(*at));
    detail.truncate(cut.unwrap_or(0));
    let trace_id = context::current().trace_id().map(|id| id.to_string());
    let binds = binds![
        actor.name.as_str(),
        action,
        subject,
        reason,
        detail.replace('\0', ""),
        trace_id
    ];
    let rows = store.run(&sql::AUDIT_PUT, binds).await?;
    let id: i64 = rows.one()?.get(0)?;
    let done = work.await;
    let outcome = match &done {
        Ok(_) => "done".to_owned(),
        Err(problem) => problem.line(),
    };
    if let Err(error) = store.run(&sql::AUDIT_END, binds![id, outcome]).await {
        tracing::error!(target: "steadfast::api", audit = id, %error, "what became of an action was not noted");
    }
    done
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

pub(crate) async fn list(
    store: &Store,
    before: i64,
    count: usize,
) -> Result<Vec<types::Audit>, Error> {
    let rows = store
        .ask(&sql::AUDIT_LIST, binds![before, count as i64])
        .await?;
    let entries = rows.iter().map(|row| {
        Ok(types::Audit {
            id: row.get(0)?,
            at: moment(row.get(1)?),
            actor: row.get(2)?,
            action: row.get(3)?,
            subject: row.get(4)?,
            reason: row.get(5)?,
            detail: row.get(6)?,
            trace_id: row.get(7)?,
            outcome: row.get(8)?,
        })
    });
    entries.collect()
}
