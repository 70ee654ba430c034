//! Looking at queues: who has paused them, what limits they have, how much is in them.

use std::time::Duration;

use steadfast_core::clock::Timestamp;
use steadfast_store::binds;

use crate::list::WINDOW;
use crate::{COUNT_CAP, Error, Jobs, PAGE_MAX, sql};

/// What the store knows about a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// Since when it is paused, and why.
    pub paused: Option<(Timestamp, String)>,
    /// How many of its jobs run at once, in all nodes together.
    pub max_running: Option<u32>,
    /// How many of those with the same key do.
    pub max_running_per_key: Option<u32>,
    /// How many jobs are due and not claimed yet, up to [`COUNT_CAP`].
    pub pending: u64,
    /// How many are claimed, up to [`COUNT_CAP`].
    pub running: u64,
    /// For how long the job is due that is first in line; zero without one.
    pub oldest: Duration,
}

impl Jobs {
    /// Gives queues in the order of their names: those after `after` (none for the first page), at most `count` and
    /// [`PAGE_MAX`] of them. There is one as soon as it was paused or limited, or has jobs that are due or run; what only
    /// has jobs that are due later is left out.
    ///
    /// # Errors
    /// When the store cannot be asked.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn queues(&self, after: &str, count: usize) -> Result<Vec<QueueInfo>, Error> {
        let count = count.clamp(1, PAGE_MAX) as i64;
        let binds = binds![after, count, COUNT_CAP as i64, WINDOW];
        let rows = self.store().ask(&sql::QUEUES, binds).await?;
        let queues = rows.iter().map(|row| {
            let (since, why): (Option<i64>, Option<String>) = (row.get(1)?, row.get(2)?);
            let since = since.map(|us| Timestamp::from_unix_millis(us.div_euclid(1_000)));
            let limit = |limit: Option<i64>| limit.and_then(|limit| u32::try_from(limit).ok());
            Ok(QueueInfo {
                name: row.get(0)?,
                paused: since.map(|since| (since, why.unwrap_or_default())),
                max_running: limit(row.get(3)?),
                max_running_per_key: limit(row.get(4)?),
                pending: row.get::<i64>(5)?.unsigned_abs(),
                running: row.get::<i64>(6)?.unsigned_abs(),
                oldest: row.get::<Option<i64>>(7)?.map_or(Duration::ZERO, |us| {
                    Duration::from_micros(us.max(0).unsigned_abs())
                }),
            })
        });
        queues.collect()
    }

    /// Gives the names of the queues that are paused, at most [`PAGE_MAX`], in their order.
    ///
    /// # Errors
    /// When the store cannot be asked.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn paused(&self) -> Result<Vec<String>, Error> {
        let rows = self
            .store()
            .ask(&sql::PAUSED, binds![PAGE_MAX as i64])
            .await?;
        rows.iter().map(|row| Ok(row.get(0)?)).collect()
    }
}
