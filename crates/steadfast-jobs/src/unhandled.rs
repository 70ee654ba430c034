//! Work that nobody does: kinds that no node handles, although their jobs are due or schedules go on making some, and queues
//! that no node claims from.

use std::collections::BTreeMap;
use std::time::Duration;

use steadfast_store::{Rows, binds};

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
        let handled = Said::of(&store.ask(&sql::HANDLED, binds![]).await?)?;
        let is_told = |kind: &str| handled.is_abandoned(kind, after);

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

    /// Gives the queues, by name, that no node has claimed from for `after`, although jobs of theirs are due, with how many
    /// those are, up to [`COUNT_CAP`](crate::COUNT_CAP). What is said of [`unhandled`](Self::unhandled) holds here, too, and
    /// nothing is told while a node lives that does not say from where it claims, since it is of an older program.
    ///
    /// # Errors
    /// When the store cannot be asked.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn unserved(&self, after: Duration) -> Result<BTreeMap<String, u64>, Error> {
        let served = Said::of(&self.store().ask(&sql::SERVED, binds![]).await?)?;
        if served.silent > 0 {
            return Ok(BTreeMap::new());
        }
        let queues = self.queues("", PAGE_MAX).await?.into_iter();
        let queues = queues.filter(|queue| queue.paused.is_none() && queue.pending > 0);
        let told = queues.filter(|queue| served.is_abandoned(&queue.name, after));
        Ok(told.map(|queue| (queue.name, queue.pending)).collect())
    }

    /// Tells whether a node that lives claims from a queue, or may do so without having said it.
    ///
    /// # Errors
    /// When the store cannot be asked.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn is_served(&self, queue: &str) -> Result<bool, Error> {
        let served = Said::of(&self.store().ask(&sql::SERVED, binds![]).await?)?;
        Ok(served.silent > 0 || served.seen.get(queue) == Some(&LastSeen::Now))
    }
}

/// What nodes have said of what they do.
struct Said {
    seen: BTreeMap<String, LastSeen>,
    /// For how long the node lives that has lived longest.
    oldest_ns: Option<u64>,
    /// How many live that say nothing.
    silent: i64,
}

impl Said {
    fn of(rows: &Rows) -> Result<Self, Error> {
        let mut said = Self {
            seen: BTreeMap::new(),
            oldest_ns: None,
            silent: 0,
        };
        for row in rows {
            let (name, number): (Option<String>, i64) = (row.get(0)?, row.get(1)?);
            let ago_us: Option<i64> = row.get(2)?;
            let ago_ns = ago_us.map(|us| us.max(0).unsigned_abs().saturating_mul(1_000));
            match name {
                None => (said.oldest_ns, said.silent) = (ago_ns, number),
                Some(name) if number == 1 => drop(said.seen.insert(name, LastSeen::Now)),
                Some(name) => {
                    let ago = LastSeen::Ago(ago_ns.unwrap_or(0));
                    said.seen.insert(name, ago);
                }
            }
        }
        Ok(said)
    }

    fn is_abandoned(&self, name: &str, after: Duration) -> bool {
        let after_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        let seen = self.seen.get(name).copied().unwrap_or(LastSeen::Never);
        is_abandoned(seen, self.oldest_ns, after_ns)
    }
}
