//! Worker ids that a store hands out: leased, fenced, and remembered.
//!
//! # The problem
//! A snowflake is unique because its worker id is. Numbers out of a config are copied with it; ordinals, host
//! names and addresses come again; a worker id in a file is copied with the file. And a process that was paused
//! while its worker id was given to another one wakes up and makes the ids of that one.
//!
//! # Why the usual answers fail
//! A row for each address fills up with addresses: after a thousand restarts in a cloud there is no number left.
//! A lease that the process looks at from time to time is looked at before the pause. A timestamp that the
//! process writes down now and then is older than its last id, so a clock that was set back makes ids of the time
//! between again.
//!
//! # The tool
//! [`Ids::lease`](crate::Ids::lease) gives a [`Generator`] with a worker id of the store.
//! - **Fence.** An id is made only while the monotonic clock is before the end of the lease less a margin, counted
//!   from *before* the store was asked. So a process that was stopped and goes on makes none, without having to
//!   notice anything. It is asked for each id, and costs one comparison: renewals are in the background. What does
//!   have to be noticed is that the host slept, which the clock that is quick to read does not show: within half a
//!   second of its waking no id is made any more, and those until then are below the mark.
//! - **Mark.** What the ids of a lease may say as their time is reserved in the store *before* they are made, and
//!   each lease begins where the one before it had reserved. So even a process that outlives its lease by any
//!   trick (a machine that slept, a clock that lied) cannot make an id of its successor, and a restart with the
//!   clock set back cannot repeat: it gets a worker id that is not ahead of it, or an error that says so.
//! - **Term.** Grows with each lease of a worker id; whatever the holder writes to the store carries it.
//! - **Rest.** A worker id that was given back or lost is nobody's for twice the greatest
//!   [skew](LeaseConfig::skew) and a lead, so that the next one's clock is past it already.
//! - **Holder.** Drawn at the start of the process, and kept nowhere: a copied folder, image or machine copies no
//!   lease. The file of SQLite itself knows which file it is, and refuses to work as a copy.
//! - **Layout.** That of a group is in the store. Another one is refused, unless all its ids are greater than all
//!   that there are, and nobody makes ids of the old one any more.
//!
//! Worker ids that are known, such as the ordinal of a pod, can be leased as well
//! ([`LeaseConfig::worker`]): then the store sees to it that nobody else has it.

mod keeper;
mod tenancy;

use std::time::Duration;

use steadfast_store::Store;

use crate::error::{Error, Repr};
use crate::generator::{Generator, GeneratorBuilder, Source};
use crate::ids::Ids;
use crate::snowflake::Layout;
use crate::sql::{GROUP_CHANGE, GROUP_JOIN, GROUP_LOCK, GROUP_STATE};
use steadfast_store::binds;

pub(crate) use keeper::EVENTS;
pub(crate) use tenancy::{METRICS, Tenancy};

/// How a worker id is leased.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseConfig {
    /// What the ids are unique among: `default` unless set. Ids of two groups may be the same. 1 to 100 bytes.
    pub group: String,
    /// The layout, the same for the whole group: [`Layout::DEFAULT`] unless set.
    pub layout: Layout,
    /// How far ids may run ahead of the time: [`GeneratorBuilder::DEFAULT_LEAD`] unless set.
    pub lead: Duration,
    /// Which worker id it must be; `None`, the default, takes any that is free.
    ///
    /// One that is known does not rest before it is taken again: it is the same service that comes back.
    pub worker: Option<u64>,
    /// How long the worker id outlives its holder: 30 s unless set, as for nodes. Renewed every third of it; a
    /// tenth before its end the holder stops by itself. So the store may be away for 27 s less a renewal
    /// without anybody noticing.
    pub lease: Duration,
    /// By how much the clock of this host may differ from that of the database: 5 s unless set, a hundred times
    /// what a clock that is kept in step does. A start is refused beyond, and a clock that goes off later is not
    /// followed. Has no effect on SQLite, whose clock is that of the host.
    pub skew: Duration,
}

impl LeaseConfig {
    /// The shortest lease: 100 ms, for tests.
    pub const LEASE_MIN: Duration = Duration::from_millis(100);

    /// The longest lease and skew: an hour.
    pub const LEASE_MAX: Duration = Duration::from_secs(3_600);

    /// The longest name of a group: 100 bytes.
    pub const GROUP_BYTES_MAX: usize = 100;

    /// How many worker ids of a group are handed out: 65,536, also where the layout has room for more. Each is a
    /// row, and a start reads them.
    pub const WORKERS_MAX: u64 = 1 << 16;

    /// How long a worker id that was given back or lost is nobody's: twice the [skew](Self::skew), by which two
    /// clocks may be apart, and the lead.
    #[must_use]
    pub fn rest(&self) -> Duration {
        self.skew * 2 + self.lead
    }

    fn check(&self) -> Result<(), Error> {
        let refused = |what, why| Err(Repr::Config { what, why }.into());
        if !(1..=Self::GROUP_BYTES_MAX).contains(&self.group.len()) || self.group.contains('\0') {
            return refused("group", "must have 1 to 100 bytes, without NUL");
        }
        if !(Self::LEASE_MIN..=Self::LEASE_MAX).contains(&self.lease) {
            return refused("lease", "must be from 100 ms to 1 h");
        }
        if self.skew > Self::LEASE_MAX {
            return refused("skew", "must be at most 1 h");
        }
        let most = self.layout.worker_max().min(Self::WORKERS_MAX - 1);
        if self.worker.is_some_and(|worker| worker > most) {
            return refused(
                "worker",
                "must have room in the layout, and be below 65,536",
            );
        }
        Ok(())
    }
}

impl Default for LeaseConfig {
    fn default() -> Self {
        Self {
            group: "default".to_owned(),
            layout: Layout::DEFAULT,
            lead: GeneratorBuilder::DEFAULT_LEAD,
            worker: None,
            lease: Duration::from_secs(30),
            skew: Duration::from_secs(5),
        }
    }
}

impl Ids {
    /// Leases a worker id, and gives a generator that makes ids with it for as long as the lease is renewed, which
    /// happens in the background. When it is lost, the generator asks for another one by itself; ids go on to
    /// rise.
    ///
    /// # Errors
    /// - There is no worker id, or the one asked for is somebody's (SF-1301, [when to come
    ///   back](Error::retry_after) with it).
    /// - The clock is behind what was reserved with all that are free (SF-1302), or off that of the database (SF-1303).
    /// - The group has another layout (SF-1304).
    /// - The config is out of range (SF-1305), or the layout has no ids now.
    /// - The store cannot be asked.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropped half-way, a worker id may have been taken; it is free again when its lease and rest are over.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// # use steadfast_store::{Config, Store};
    /// # #[tokio::main] async fn main() -> Result<(), steadfast_core::BoxError> {
    /// # let folder = std::env::temp_dir().join(format!("ids-doc-lease-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// use steadfast_ids::{Ids, LeaseConfig};
    ///
    /// let store = Store::open(Config::sqlite(folder.join("shop.db"))).await?;
    /// let ids = Ids::open(&store).await?;
    /// let orders = ids.lease(LeaseConfig::default()).await?;
    /// let others = ids.lease(LeaseConfig::default()).await?;
    ///
    /// assert_ne!(orders.worker(), others.worker());
    /// assert_ne!(orders.next().await?, others.next().await?);
    ///
    /// orders.release().await;
    /// assert!(orders.next().await.is_err());
    /// # others.release().await;
    /// # store.close().await;
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok(()) } main().unwrap(); }
    /// ```
    pub async fn lease(&self, config: LeaseConfig) -> Result<Generator, Error> {
        config.check()?;
        let store = self.store();
        let rows_max = config.layout.worker_max().min(LeaseConfig::WORKERS_MAX - 1);
        // A thousand at a time: most groups never need more.
        let mut rows = rows_max.min(1_023).max(config.worker.unwrap_or(0));
        join(store, &config, rows).await?;
        let tenancy = loop {
            match Tenancy::start(store, &config).await {
                Err(error)
                    if error.would_more_help() && config.worker.is_none() && rows < rows_max =>
                {
                    rows = rows_max.min(rows * 2 + 1);
                    join(store, &config, rows).await?;
                }
                started => break started?,
            }
        };
        Ok(Generator::new(Source::Leased(tenancy)))
    }
}

/// Makes sure that the group is there, with rows up to `last`, and has this layout.
async fn join(store: &Store, config: &LeaseConfig, last: u64) -> Result<(), Error> {
    let layout = config.layout.to_string();
    let binds = binds![config.group.as_str(), layout.as_str(), signed(last)];
    let rows = store.run(&GROUP_JOIN, binds).await?;
    if rows.one()?.get::<&str>(0)? != layout {
        change(store, config, &layout).await?;
    }
    Ok(())
}

/// Gives a group another layout, if no id of it can be one that there is.
async fn change(store: &Store, config: &LeaseConfig, layout: &str) -> Result<(), Error> {
    let clock = store.host_clock();
    let rest = micros(config.rest());
    store
        .write(async |mut tx| {
            let group = config.group.as_str();
            let locked = tx.run(&GROUP_LOCK, binds![group]).await?;
            let stored = locked.one()?.get::<String>(0)?;
            if stored == layout {
                return Ok(());
            }
            let refuse = |why| {
                let (group, stored) = (config.group.clone(), stored.clone());
                Err(Repr::Layout { group, stored, why }.into())
            };
            let Ok(before) = stored.parse::<Layout>() else {
                return refuse(
                    "which this program cannot read: it may be older than what wrote it",
                );
            };
            let binds = binds![group, rest, clock.boot.as_str(), clock.us];
            let state = tx.run(&GROUP_STATE, binds).await?;
            let (leased, mark_ms): (i64, i64) = (state.one()?.get(0)?, state.one()?.get(1)?);
            if leased > 0 {
                return refuse(
                    "and there are worker ids that are leased with it, or were just now",
                );
            }
            let now = steadfast_core::clock::timestamp();
            let end = steadfast_core::Timestamp::from_unix_millis(mark_ms);
            if !config.layout.is_disjoint_after(&before, end, now) {
                return refuse("and ids of the one asked for may be ids that there are");
            }
            tx.run(&GROUP_CHANGE, binds![group, layout, now.unix_millis()])
                .await?;
            Ok(())
        })
        .await
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(i64::MAX)
}

pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
