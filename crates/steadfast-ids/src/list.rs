//! What a store has handed out: for people who look.

use std::time::Duration;

use steadfast_core::Timestamp;
use steadfast_store::binds;

use crate::error::Error;
use crate::ids::Ids;
use crate::sql::{SEGMENT_LIST, WORKER_LIST};
use crate::worker_id::signed;

/// The most that is listed at once: 1,000. More are on the next page.
pub const PAGE_MAX: u32 = 1_000;

/// A worker id that somebody has or had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Worker {
    /// What its ids are unique among.
    pub group: String,
    /// The worker id.
    pub worker: u64,
    /// The layout of the group, as [`Layout`](crate::Layout) writes it.
    pub layout: String,
    /// How many leases it has had.
    pub term: i64,
    /// Whether somebody has it.
    pub held: Held,
    /// All its ids say a time before this one.
    pub mark: Timestamp,
}

/// Whether somebody has a worker id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// For so long, unless the lease is renewed.
    For(Duration),
    /// Not since so long: its lease ended, or it was given back.
    NotSince(Duration),
    /// Not since this host was started (SQLite).
    NotSinceBoot,
}

/// A tag of dense ids.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tag {
    /// Its name.
    pub tag: String,
    /// Where the next range begins: all numbers below were handed out, or lost with a process.
    pub next: u64,
}

impl Ids {
    /// Lists worker ids that somebody has or had, by group and worker id: those after `after`, at most `limit` and
    /// [`PAGE_MAX`].
    ///
    /// # Errors
    /// When the store cannot be asked.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn workers(
        &self,
        after: Option<(&str, u64)>,
        limit: u32,
    ) -> Result<Vec<Worker>, Error> {
        let (group, worker) = after.map_or(("", -1), |(group, worker)| (group, signed(worker)));
        let clock = self.store().host_clock();
        let binds = binds![
            group,
            worker,
            limit.min(PAGE_MAX),
            clock.boot.as_str(),
            clock.us
        ];
        let rows = self.store().run(&WORKER_LIST, binds).await?;
        let mut workers = Vec::new();
        for row in &rows {
            let worker: i64 = row.get(1)?;
            let left_us: Option<i64> = row.get(5)?;
            let micros = left_us.map(|us| Duration::from_micros(us.unsigned_abs()));
            workers.push(Worker {
                group: row.get(0)?,
                worker: worker.unsigned_abs(),
                layout: row.get(2)?,
                term: row.get(3)?,
                held: match (row.get(4)?, micros) {
                    (true, Some(left)) => Held::For(left),
                    (_, Some(since)) => Held::NotSince(since),
                    (_, None) => Held::NotSinceBoot,
                },
                mark: Timestamp::from_unix_millis(row.get(6)?),
            });
        }
        Ok(workers)
    }

    /// Lists tags of dense ids by name: those after `after`, at most `limit` and [`PAGE_MAX`].
    ///
    /// # Errors
    /// When the store cannot be asked.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn tags(&self, after: Option<&str>, limit: u32) -> Result<Vec<Tag>, Error> {
        let binds = binds![after.unwrap_or_default(), limit.min(PAGE_MAX)];
        let rows = self.store().run(&SEGMENT_LIST, binds).await?;
        let mut tags = Vec::new();
        for row in &rows {
            let next: i64 = row.get(1)?;
            tags.push(Tag {
                tag: row.get(0)?,
                next: next.unsigned_abs(),
            });
        }
        Ok(tags)
    }
}
