//! Looking at the nodes of a store.

use std::time::Duration;

use steadfast_core::Timestamp;

use crate::{Error, Store, binds, schema};

/// The most nodes of a page: 1,000.
pub const NODES_MAX: usize = 1_000;

/// One life of a process, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Its incarnation.
    pub id: i64,
    /// The service that it is part of.
    pub service: String,
    /// The version of that.
    pub version: String,
    /// The host that it runs on.
    pub host: String,
    /// Its process there.
    pub pid: i64,
    /// When it joined.
    pub started: Timestamp,
    /// How long ago it gave its last sign, by the clock of the database.
    pub last_beat: Duration,
    /// When it ended, or was found dead; nothing for one that is taken to be alive.
    pub ended: Option<Timestamp>,
}

impl Store {
    /// Gives lives of processes, the latest first: those whose id is below `before`, at most `count`
    /// and [`NODES_MAX`].
    ///
    /// One that died is taken to be alive until somebody has found its lease over.
    ///
    /// # Errors
    /// When the store cannot be asked.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn nodes(&self, before: Option<i64>, count: usize) -> Result<Vec<NodeInfo>, Error> {
        let count = count.clamp(1, NODES_MAX) as i64;
        let before = before.unwrap_or(i64::MAX);
        let rows = self.ask(&schema::NODE_LIST, binds![before, count]).await?;
        let time = |us: i64| Timestamp::from_unix_millis(us.div_euclid(1_000));
        let nodes = rows.iter().map(|row| {
            let (beat_us, now_us): (i64, i64) = (row.get(6)?, row.get(8)?);
            let since = now_us.saturating_sub(beat_us).max(0).unsigned_abs();
            Ok(NodeInfo {
                id: row.get(0)?,
                service: row.get(1)?,
                version: row.get(2)?,
                host: row.get(3)?,
                pid: row.get(4)?,
                started: time(row.get(5)?),
                last_beat: Duration::from_micros(since),
                ended: row.get::<Option<i64>>(7)?.map(time),
            })
        });
        nodes.collect()
    }
}
