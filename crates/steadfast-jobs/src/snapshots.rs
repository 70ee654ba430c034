//! Who keeps PostgreSQL from cleaning up.
//!
//! Each job that changes hands leaves a dead row behind, and claims step over those that vacuum has not removed.
//! Vacuum removes none that somebody's snapshot could still see: one session that is left idle in its transaction, or
//! a prepared transaction that was forgotten, makes them pile up by thousands a second. Each node looks for such
//! snapshots every half minute and tells who holds them.

use std::time::Duration;

use steadfast_store::binds;

use crate::job::micros;
use crate::{Error, Jobs, sql};

/// From when on a snapshot is told: a minute. Reports take that long and more, and the work of a minute is stepped over
/// in milliseconds.
pub const SNAPSHOT_OLD: Duration = Duration::from_secs(60);

/// How many are told: 10, the oldest first. While one is there the others do not matter.
pub const SNAPSHOTS_MAX: i64 = 10;

/// Who holds a snapshot of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldSnapshot {
    /// The process of the server that has it, for `pg_terminate_backend`; `None` for a prepared transaction.
    pub pid: Option<i64>,
    /// What the session calls itself (`application_name`), or the name of the prepared transaction.
    pub application: String,
    /// Whose it is.
    pub user: String,
    /// What the session does, such as `idle in transaction`; `prepared` for a prepared transaction.
    pub state: String,
    /// For how long its transaction has lasted.
    pub held: Duration,
}

impl Jobs {
    /// Tells who has held a snapshot of the database for longer than a length of time, the oldest first, at most
    /// [`SNAPSHOTS_MAX`]. Nobody on SQLite.
    ///
    /// Sessions of other users are seen if ours has the rights of `pg_read_all_stats`.
    ///
    /// # Errors
    /// When the store cannot be asked.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn held_snapshots(&self, longer_than: Duration) -> Result<Vec<HeldSnapshot>, Error> {
        let binds = binds![micros(longer_than), SNAPSHOTS_MAX];
        let rows = self.store().ask(&sql::SNAPSHOTS, binds).await?;
        let read = |row: &steadfast_store::Row| -> Result<HeldSnapshot, steadfast_store::Error> {
            Ok(HeldSnapshot {
                pid: Some(row.get(0)?).filter(|pid| *pid != 0),
                application: row.get(1)?,
                user: row.get(2)?,
                state: row.get(3)?,
                held: Duration::from_micros(row.get::<i64>(4)?.unsigned_abs()),
            })
        };
        let held: Result<Vec<HeldSnapshot>, _> = rows.iter().map(read).collect();
        Ok(held?)
    }
}
