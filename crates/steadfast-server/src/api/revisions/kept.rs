//! Revisions and overrides as the store has them: rows of a line, which is a service and what its processes were started
//! with.

use std::time::Duration;

use steadfast::Timestamp;
use steadfast::store::{Error, Row, Store, binds};
use steadfast::tower::PolicyDocument;
use steadfast::tower::policy::Signed;

use super::super::auth::moment;
use super::super::types;
use crate::sql;

/// The most overrides that are looked at: twice as many as a process holds, since several may have been asked at once.
const OVERRIDES_MAX: usize = 2 * steadfast::tower::policy::Override::MAX;

/// So much of the name of a document is kept: 200 characters, as many as a path that people read.
const NAME_MAX: usize = 200;

/// After how long without a sign a process is not counted any more: 15 s, three of its signs.
const SILENT_AFTER: Duration = Duration::from_secs(15);

/// How often a process gives a sign: every 5 s, beside what it tells at once.
pub(super) const SIGN_EVERY: Duration = Duration::from_secs(5);

/// A line of revisions in a store.
pub(super) struct Kept {
    pub(super) store: Store,
    pub(super) service: String,
    /// The hash of the document that the process was started with.
    pub(super) base: String,
    /// Tells this process from others of the line.
    pub(super) process: i64,
}

/// A revision that is to be kept.
pub(super) struct New<'a> {
    /// The latest of the line as far as is known; 0 for none.
    pub(super) over: u64,
    pub(super) document: &'a PolicyDocument,
    pub(super) signed: &'a Signed,
    pub(super) changes: Option<u64>,
}

/// A revision that is kept.
pub(super) struct Revision {
    pub(super) told: types::Revision,
    pub(super) at: Timestamp,
    pub(super) document: String,
}

/// An override that is kept.
pub(super) struct Held {
    pub(super) path: String,
    pub(super) value: String,
    pub(super) author: String,
    pub(super) reason: String,
    /// By which it is told from one that was held for the field before.
    pub(super) at_us: i64,
    /// For how long more.
    pub(super) left: Duration,
    /// The hash of what processes were started with, against which it is held.
    pub(super) base: String,
}

impl Kept {
    /// Adds a revision; gives its number and when, and nothing where somebody else was faster.
    pub(super) async fn put(&self, new: New<'_>) -> Result<Option<(u64, Timestamp)>, Error> {
        let binds = binds![
            self.service.as_str(),
            self.base.as_str(),
            number(new.over),
            new.document.hash().to_string(),
            name_of(new.document),
            new.document.text(),
            new.signed.author(),
            new.signed.reason(),
            new.changes.map(number)
        ];
        let rows = self.store.run(&sql::REVISION_PUT, binds).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some((unsigned(row, 0)?, time_of(row, 1)?)))
    }

    /// Notes which revision this process has in force.
    pub(super) async fn follows(&self, n: u64) -> Result<(), Error> {
        let (service, base) = (self.service.as_str(), self.base.as_str());
        let silent_us = SILENT_AFTER.as_micros() as i64;
        let binds = binds![service, base, self.process, number(n), silent_us];
        self.store.run(&sql::FOLLOWER_PUT, binds).await.map(drop)
    }

    /// Counts the processes of the line, and those that have a revision in force.
    pub(super) async fn followers(&self, n: u64) -> Result<types::Followers, Error> {
        let (service, base) = (self.service.as_str(), self.base.as_str());
        let silent_us = SILENT_AFTER.as_micros() as i64;
        let binds = binds![service, base, number(n), silent_us];
        let rows = self.store.ask(&sql::FOLLOWER_COUNT, binds).await?;
        let row = rows.one()?;
        Ok(types::Followers {
            processes: unsigned(row, 0)?,
            taken: unsigned(row, 1)?,
        })
    }

    /// Gives the newest revision of the line between two numbers.
    pub(super) async fn newest(&self, after: u64, before: u64) -> Result<Option<Revision>, Error> {
        let (service, base) = (self.service.as_str(), self.base.as_str());
        let binds = binds![service, base, number(after), number(before)];
        let rows = self.store.ask(&sql::REVISION_NEWEST, binds).await?;
        rows.first().map(revision).transpose()
    }

    /// Gives a revision of the service, of whatever line.
    pub(super) async fn find(&self, n: u64) -> Result<Option<Revision>, Error> {
        let binds = binds![self.service.as_str(), number(n)];
        let rows = self.store.ask(&sql::REVISION_FIND, binds).await?;
        rows.first().map(revision).transpose()
    }

    /// Lists revisions of the service, the latest first.
    pub(super) async fn list(
        &self,
        before: u64,
        count: usize,
    ) -> Result<Vec<types::Revision>, Error> {
        let binds = binds![self.service.as_str(), number(before), count as i64];
        let rows = self.store.ask(&sql::REVISION_LIST, binds).await?;
        rows.iter().map(told).collect()
    }

    /// Keeps an override; gives by what it is known.
    pub(super) async fn hold(
        &self,
        path: &str,
        value: &str,
        lasts: Duration,
        signed: &Signed,
    ) -> Result<i64, Error> {
        let binds = binds![
            self.service.as_str(),
            self.base.as_str(),
            path,
            value,
            i64::try_from(lasts.as_micros()).unwrap_or(i64::MAX),
            signed.author(),
            signed.reason()
        ];
        let rows = self.store.run(&sql::OVERRIDE_PUT, binds).await?;
        rows.one()?.get(0)
    }

    /// Takes an override out; tells whether one was held.
    pub(super) async fn end_hold(&self, path: &str) -> Result<bool, Error> {
        let binds = binds![self.service.as_str(), self.base.as_str(), path];
        let rows = self.store.run(&sql::OVERRIDE_END, binds).await?;
        let held: Option<i64> = rows.first().map(|row| row.get(0)).transpose()?;
        Ok(held == Some(1))
    }

    /// Lists what is held in the whole service: that of the line first, the oldest before others.
    pub(super) async fn held(&self) -> Result<Vec<Held>, Error> {
        let (service, base) = (self.service.as_str(), self.base.as_str());
        let binds = binds![service, base, OVERRIDES_MAX as i64];
        let rows = self.store.ask(&sql::OVERRIDE_LIST, binds).await?;
        let held = rows.iter().map(|row| {
            let left: i64 = row.get(5)?;
            Ok(Held {
                path: row.get(0)?,
                value: row.get(1)?,
                author: row.get(2)?,
                reason: row.get(3)?,
                at_us: row.get(4)?,
                left: Duration::from_micros(left.unsigned_abs()),
                base: row.get(6)?,
            })
        });
        held.collect()
    }
}

/// Whoever asks may call a document anything; others see that on their terminals.
fn name_of(document: &PolicyDocument) -> String {
    let shown = document.name().chars().filter(|char| !char.is_control());
    shown.take(NAME_MAX).collect()
}

/// A number as the store has it; what is out of its range is the number of none.
fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row, at: usize) -> Result<u64, Error> {
    Ok(row.get::<i64>(at)?.unsigned_abs())
}

fn time_of(row: &Row, at: usize) -> Result<Timestamp, Error> {
    let us: i64 = row.get(at)?;
    Ok(Timestamp::from_unix_millis(us.div_euclid(1_000)))
}

fn told(row: &Row) -> Result<types::Revision, Error> {
    let changes: Option<i64> = row.get(6)?;
    Ok(types::Revision {
        revision: unsigned(row, 0)?,
        base: row.get(1)?,
        hash: row.get(2)?,
        name: row.get(3)?,
        author: row.get(4)?,
        reason: row.get(5)?,
        changes: changes.map(i64::unsigned_abs),
        at: moment(row.get(7)?),
    })
}

fn revision(row: &Row) -> Result<Revision, Error> {
    Ok(Revision {
        told: told(row)?,
        at: time_of(row, 7)?,
        document: row.get(8)?,
    })
}
