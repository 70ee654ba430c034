//! Work that nobody does: kinds that no node handles, although their jobs are due or schedules go on making some.

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast_store::binds;

use crate::decide::abandoned::{LastSeen, is_abandoned};
use crate::{Error, Jobs, PAGE_MAX, sql};

/// How many jobs are looked at in each queue: 1,000, some milliseconds for the store. They are those that are claimed first,
/// and what nobody handles stays among them while all others are claimed.
const LOOKED_AT: i64 = 1_000;

/// How many schedules one statement gives: 1,000.
const SCHEDULES: i64 = 1_000;

/// A kind that no node handles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unhandled {
    /// The schedules that go on making jobs of it.
    pub schedules: Vec<String>,
    /// How many of its jobs are due, among the first thousand of each queue.
    pub jobs: u64,
}

impl Jobs {
    /// Gives the kinds, by name, that no node has handled for `after`, although their jobs are due or a schedule goes on
    /// making some. A lease of the nodes is long enough for one that is started anew, and for the rescue of one that has
    /// died. Nothing is told of a store whose nodes have all been started within that time, nor of jobs in queues that are
    /// paused.
    ///
    /// What it costs is the number of queues and schedules, with millions of jobs as with none.
    ///
    /// # Errors
    /// When the store cannot be asked.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn unhandled(&self, after: Duration) -> Result<BTreeMap<String, Unhandled>, Error> {
        let store = self.store();
        let since = |us: Option<i64>| us.map(|us| us.max(0).unsigned_abs().saturating_mul(1_000));
        let mut oldest_ns = None;
        let mut seen: BTreeMap<String, LastSeen> = BTreeMap::new();
        for row in &store.ask(&sql::HANDLED, binds![]).await? {
            let ago_ns = since(row.get(2)?);
            match row.get::<Option<String>>(0)? {
                None => oldest_ns = ago_ns,
                Some(kind) if row.get::<i64>(1)? == 1 => drop(seen.insert(kind, LastSeen::Now)),
                Some(kind) => drop(seen.insert(kind, LastSeen::Ago(ago_ns.unwrap_or(0)))),
            }
        }
        let after_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        let is_told = |kind: &str| {
            let seen = seen.get(kind).copied().unwrap_or(LastSeen::Never);
            is_abandoned(seen, oldest_ns, after_ns)
        };

        let mut found: BTreeMap<String, Unhandled> = BTreeMap::new();
        let mut after_name = String::new();
        loop {
            let binds = binds![after_name.as_str(), SCHEDULES];
            let rows = store.ask(&sql::SCHEDULE_KINDS, binds).await?;
            for row in &rows {
                let (name, kind): (String, String) = (row.get(0)?, row.get(1)?);
                after_name.clone_from(&name);
                if is_told(&kind) {
                    found.entry(kind).or_default().schedules.push(name);
                }
            }
            if (rows.len() as i64) < SCHEDULES {
                break;
            }
        }
        let queues = self.queues("", PAGE_MAX).await?;
        let looked_at = |queue: &&crate::QueueInfo| queue.paused.is_none() && queue.pending > 0;
        for queue in queues.iter().filter(looked_at) {
            let binds = binds![queue.name.as_str(), LOOKED_AT];
            for row in &store.ask(&sql::DUE_KINDS, binds).await? {
                let (kind, count): (String, i64) = (row.get(0)?, row.get(1)?);
                if is_told(&kind) {
                    found.entry(kind).or_default().jobs += count.unsigned_abs();
                }
            }
        }
        Ok(found)
    }
}
