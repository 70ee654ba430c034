//! What the database tells a writer.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use steadfast_core::batch::{Look, Permits};
use steadfast_core::clock;
use steadfast_core::decide::batch::{Lag, Pressure};

use super::lag::Positions;
use crate::lane::Lane;
use crate::{Dialect, Error, Store, binds, schema};

/// Looks who waits for locks, and how far replicas are behind, over a connection of its own.
///
/// **Waiters** are the connections to this database that wait for a lock: in PostgreSQL as `pg_locks` has it, which
/// every user may read; with SQLite whoever stands in the queue of the writer.
///
/// **Lag** is the age of the first write that the replica farthest behind has not made its own: a logical
/// subscriber, a standby, a slot whose subscriber is gone. It goes by positions in the log, so that one whose worker
/// waits for a lock, and tells nothing meanwhile, is seen. Of a replica that has not come to where the log was at the first
/// look it is known only that it is behind for at least as long ago as that was. It is unknown when there are fewer replicas than expected, when
/// the user may not see them (on a standby's connection that takes the role `pg_monitor`; a logical slot is seen by all),
/// when the server is a standby itself, and with SQLite, which knows of none.
///
/// # Examples
/// ```no_run
/// # use steadfast_core as steadfast;
/// # use steadfast_store as store;
/// # use std::time::Duration;
/// # use steadfast::batch::{BatchConfig, BatchWriter};
/// # use store::sink::{DatabaseLook, Replicas, TableSink};
/// # fn example(store: &store::Store, sink: TableSink<i64>) -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = BatchConfig::new("views");
/// config.size.lag_max = Some(Duration::from_secs(1));
/// let writer = BatchWriter::builder(config, sink)
///     .looking(DatabaseLook::new(store, Replicas::AtLeast(1)))
///     .start()?;
/// # Ok(()) }
/// ```
///
/// A clone is the same look: writers that have clones of one share its connection, and what it has seen within the last
/// 50 ms, so that many of them are no load. They take turns, too: when too many wait for locks, fewer of them write at
/// once, the others have their next batch ready meanwhile, and together they write nearly as much.
#[derive(Clone)]
pub struct DatabaseLook(Arc<Shared>);

struct Shared {
    lane: Lane,
    dialect: Dialect,
    store: Store,
    replicas: Replicas,
    positions: Mutex<Positions>,
    permits: Permits,
    last: tokio::sync::Mutex<Option<Last>>,
}

/// What was seen last.
struct Last {
    asked_at: u64,
    answered_at: u64,
    seen: Seen,
}

/// For how long others are told what was seen: 50 ms, so that a lag over its limit is met within two looks all the same.
const TOLD_FOR_NS: u64 = 50_000_000;

/// Which replicas there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replicas {
    /// Nobody asks for them: lag is unknown.
    #[default]
    Unwatched,
    /// At least so many, standbys and subscribers together; with fewer, lag is unknown.
    AtLeast(u32),
}

/// What one look has found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) waiters: Option<u32>,
    pub(crate) lag: Lag,
}

impl DatabaseLook {
    /// Looks at the database of a store. A connection is made at the first look.
    pub fn new(store: &Store, replicas: Replicas) -> Self {
        Self(Arc::new(Shared {
            lane: store.lane(),
            dialect: store.dialect(),
            store: store.clone(),
            replicas,
            positions: Mutex::default(),
            permits: Permits::new(),
            last: tokio::sync::Mutex::default(),
        }))
    }

    /// Looks, or tells what another clone has seen just now.
    pub(crate) async fn once(&self) -> Result<Seen, Error> {
        // Before it waits: whoever waits for an answer takes that, however long it took. One after the other they would
        // all ask in vain, where the server takes longer than what was seen is told for.
        let called_at = clock::nanos();
        let mut last = self.0.last.lock().await;
        if let Some(last) = &*last
            && (called_at <= last.answered_at
                || called_at.saturating_sub(last.asked_at) < TOLD_FOR_NS)
        {
            return Ok(last.seen);
        }
        let asked_at = clock::nanos();
        let seen = self.0.ask().await?;
        *last = Some(Last {
            asked_at,
            answered_at: clock::nanos(),
            seen,
        });
        Ok(seen)
    }
}

impl Shared {
    async fn ask(&self) -> Result<Seen, Error> {
        if self.dialect == Dialect::Sqlite {
            let queued = self.store.inner().usage().queued;
            return Ok(Seen {
                waiters: Some(u32::try_from(queued).unwrap_or(u32::MAX)),
                lag: Lag::Unknown,
            });
        }
        let rows = self.lane.run(&schema::BATCH_LOOK, binds![]).await?;
        let row = rows.one()?;
        let waiters: i64 = row.get(0)?;
        let position: Option<i64> = row.get(1)?;
        let (replicas, hidden): (i64, i64) = (row.get(2)?, row.get(3)?);
        let replayed: Option<i64> = row.get(4)?;
        let now = clock::nanos();
        let mut positions = self
            .positions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(position) = position {
            positions.note(position, now);
        }
        let enough = match self.replicas {
            Replicas::Unwatched => false,
            Replicas::AtLeast(least) => replicas >= i64::from(least) && hidden == 0,
        };
        let lag = match (position, replayed) {
            (Some(_), Some(replayed)) if enough => positions.lag(replayed, now),
            // None is expected, and none is there.
            (Some(_), None) if enough => Lag::Known(Duration::ZERO),
            _ => Lag::Unknown,
        };
        Ok(Seen {
            waiters: Some(u32::try_from(waiters).unwrap_or(u32::MAX)),
            lag,
        })
    }
}

impl Look for DatabaseLook {
    async fn look(&self) -> Pressure {
        // Whoever cannot look has seen nothing; the writer has a rule for that.
        match self.once().await {
            Ok(seen) => Pressure {
                lock_waiters: seen.waiters,
                lag: seen.lag,
            },
            Err(_) => Pressure::default(),
        }
    }

    fn permits(&self) -> Option<Permits> {
        Some(self.0.permits.clone())
    }
}

impl fmt::Debug for DatabaseLook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseLook")
            .field("replicas", &self.0.replicas)
            .finish_non_exhaustive()
    }
}
